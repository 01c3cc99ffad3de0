import type { FastifyInstance } from 'fastify'
import { parseStrictObject } from '../domain/strict-json.ts'

/**
 * Bodies are JSON objects that every parser reads alike: no duplicate keys, no bad UTF-8. What is not one comes out as
 * null, which no schema accepts.
 */
export function readStrictJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (_request, bytes, done) => {
    done(null, parseStrictObject(bytes))
  })
}
