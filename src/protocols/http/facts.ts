import type { FactSchema } from '../../domain/action.ts'

/** What policy may read of an HTTP request, besides its verb (the method, or UPGRADE) and its resource (the path). */
export const httpFacts: FactSchema = {
  method: { type: 'string', doc: 'The method; of an upgrade, that of the request that asks for it.' },
  path: { type: 'string', doc: 'The path under the upstream, unescaped, with a slash at its end if it has one.' },
  query: { type: 'map<string, list<string>>', doc: 'Every value of every query parameter, unescaped, in order.' },
  host: { type: 'string', doc: "The host of the upstream's URL." },
  content_type: { type: 'string', doc: 'The media type of the body in lower case without parameters; empty if none.' },
  content_length: { type: 'int', doc: 'Bytes of the body; missing if it comes in chunks and was not read.' },
  upgrade: { type: 'string', doc: 'The protocol an upgrade asks for, in lower case; empty for other requests.' },
  body: {
    type: 'dyn',
    need: 'body',
    doc: 'The body: JSON as it is; a form as a map of name to text, or to a list where a name repeats; text as text; null if empty.',
  },
}
