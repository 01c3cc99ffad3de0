import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { FastifyInstance } from 'fastify'

const FILES = { 'console.css': 'text/css; charset=utf-8', 'console.js': 'text/javascript; charset=utf-8' } as const
type AssetName = keyof typeof FILES

/** The console's style and script, by names that change with what is in them, so that browsers may keep them. */
export interface Assets {
  urlOf(name: AssetName): string
  mount(app: FastifyInstance): void
}

export function readAssets(): Assets {
  const assets = Object.entries(FILES).map(([name, type]) => {
    const bytes = readFileSync(new URL(`assets/${name}`, import.meta.url))
    const tag = createHash('sha256').update(bytes).digest('hex').slice(0, 16)
    return { name, type, bytes, url: `/assets/${tag}/${name}` }
  })
  const urls = new Map(assets.map(({ name, url }) => [name, url]))
  return {
    urlOf: (name) => urls.get(name) ?? '',
    mount(app) {
      for (const { url, type, bytes } of assets) {
        app.get(url, async (_request, reply) =>
          reply.header('cache-control', 'public, max-age=31536000, immutable').type(type).send(bytes),
        )
      }
    },
  }
}
