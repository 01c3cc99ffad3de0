import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { slack } from '../../src/channels/slack/index.ts'
import { compileContext } from '../../src/commands/policy-context.ts'
import { loadConfig } from '../../src/config.ts'
import { compile } from '../../src/policy/compile.ts'
import { loadPolicies } from '../../src/policy/load.ts'
import { isProblems } from '../../src/policy/problem.ts'
import { http } from '../../src/protocols/http/index.ts'
import { postgres } from '../../src/protocols/postgres/index.ts'
import { blocks, pages, ROOT, readPage } from './pages.ts'

const all = [...pages(), 'CONTRIBUTING.md', 'SECURITY.md']

/** As GitHub makes them of headings. */
function anchorsOf(page: string): ReadonlySet<string> {
  const headings = page.replaceAll(/^```.*?^```$/gms, '').matchAll(/^#+ (.+)$/gm)
  return new Set(
    [...headings].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
        .replaceAll(' ', '-'),
    ),
  )
}

describe.each(all)('%s', (path) => {
  const page = readPage(path)

  it('has links that lead somewhere', () => {
    const text = page.replaceAll(/^```.*?^```$/gms, '')
    const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target)
    for (const link of links.filter((target) => !/^https?:/.test(target))) {
      const url = new URL(link, new URL(path, ROOT))
      expect(existsSync(new URL(url.pathname, url)), link).toBe(true)
      const other = url.pathname.slice(ROOT.pathname.length)
      if (url.hash !== '') expect(anchorsOf(readPage(other)), link).toContain(url.hash.slice(1))
    }
  })
})

describe('the pictures', () => {
  const shown = new Set(
    all.flatMap((path) =>
      [...readPage(path).matchAll(/(?:src|srcset)="([^"]+)"|!\[[^\]]*\]\(([^)]+)\)/g)].map((found) => {
        return new URL(found[1] ?? found[2] ?? '', new URL(path, ROOT)).href
      }),
    ),
  )
  const files = readdirSync(new URL('docs/images/', ROOT)).map((name) => new URL(`docs/images/${name}`, ROOT))

  it('are there, and each of them is on a page', () => {
    expect([...shown].filter((href) => href.startsWith('file:')).sort()).toEqual(files.map(({ href }) => href).sort())
  })

  it('are small', () => {
    for (const file of files) expect(statSync(file).size, file.pathname).toBeLessThan(150_000)
  })
})

describe('the README', () => {
  const readme = readPage('README.md')
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'countersign-readme-'))
    mkdirSync(join(folder, 'policies'))
  })
  afterAll(() => {
    vi.unstubAllEnvs()
    rmSync(folder, { recursive: true })
  })

  it('has a configuration and a policy that a gateway starts with', async () => {
    const [config = '', policy = ''] = blocks(readme, 'yaml')
    writeFileSync(join(folder, 'countersign.yaml'), config)
    writeFileSync(join(folder, 'policies', 'billing.yaml'), policy)
    vi.stubEnv('BILLING_TOKEN', 'a-token')
    const kinds = { protocols: [http, postgres], channels: [slack] }
    const loaded = loadConfig(join(folder, 'countersign.yaml'), kinds, { withKeys: true })
    // Without it nobody can sign in to list and show.
    expect(loaded.people).toMatchObject([{ read_client_id: expect.any(String) }])
    const source = await loadPolicies(join(folder, 'policies'))
    if (isProblems(source)) throw new Error(JSON.stringify(source))
    expect(compile(source, compileContext(loaded, kinds))).toMatchObject({ rules: [{}, {}] })
  })

  it('names scripts that there are, and stays short', () => {
    const { scripts } = JSON.parse(readPage('package.json'))
    for (const [, name = ''] of readme.matchAll(/npm run (?:-s )?([\w:-]+)/g))
      expect(Object.keys(scripts)).toContain(name)
    expect(readme.split('\n').length).toBeLessThan(120)
  })

  it('leads to every page', () => {
    const linked = [...readme.matchAll(/\]\((docs\/[^)]+)\)/g)].map(([, target]) => target)
    const own = pages().filter((name) => /^docs\/[^/]+\.md$/.test(name))
    expect(linked).toEqual(expect.arrayContaining(own))
  })
})
