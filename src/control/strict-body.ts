import type { FastifyInstance } from 'fastify'
import { parseStrictObject } from '../identity/strict-json.ts'
import { ControlProblem } from './problem.ts'

/** Bodies are JSON objects that every parser reads alike, or they are refused: no duplicate keys, no bad UTF-8. */
export function readStrictJson(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser<Buffer>('application/json', { parseAs: 'buffer' }, (_request, bytes, done) => {
    const value = parseStrictObject(bytes)
    if (value === null)
      done(new ControlProblem('malformed', 'The body is not one JSON object that reads the same everywhere.'))
    else done(null, value)
  })
}
