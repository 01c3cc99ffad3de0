import { gzipSync } from 'node:zlib'
import { type BypassCase, forwarded, post } from './case.ts'

const JSON_BODY = '{"a":1,"_method":"DELETE"}'
const FORM_DATA = 'multipart/form-data; boundary=xyz'
const gzipped = (text: string) => gzipSync(text).toString('latin1')
const utf16 = (text: string) => Buffer.from(text, 'utf16le').toString('latin1')

function parts(head: string): string {
  return `--xyz\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--xyz\r\n${head}\r\n\r\nDELETE\r\n--xyz--\r\n`
}
const NAMED = parts('Content-Disposition: form-data; name="_method"')

function overridden(name: string, type: string | null, body: string): BypassCase {
  return { name, send: [post(type, body)], status: 400, code: 'malformed', upstream: null }
}
function opaque(name: string, type: string | null, body: string, lines: readonly string[] = []): BypassCase {
  return { name, send: [post(type, body, lines)], status: 415, code: 'unreadable', upstream: null }
}
const GZIP = ['Content-Encoding: gzip']

/** Ways to put a method into the body of a POST that no rule reads. */
export const overrides: readonly BypassCase[] = [
  overridden('a form without a type', null, '_method=DELETE'),
  overridden('a form without a type, escaped', null, 'a=1&%5fm%45thod=DELETE'),
  overridden('JSON without a type', null, JSON_BODY),
  overridden('a form whose field is in brackets', 'application/x-www-form-urlencoded', '[_method]=DELETE'),
  overridden('a form whose field is a list', 'application/x-www-form-urlencoded', '_method[]=DELETE'),
  overridden('a form of another name', 'application/x-www-form-urlencoded-too', 'a=1&_method=DELETE'),
  ...['multipart/mixed', 'multipart/related', 'multipart/x'].map((type) =>
    overridden(type, `${type}; boundary=xyz`, NAMED),
  ),
  ...[
    'Content-ID: _method',
    'Content-Id: <_method>',
    "Content-Disposition: form-data; name*=utf-8''%5fmethod",
    'Content-Disposition: form-data; name="%5Fmethod"',
    'Content-Disposition: form-data; name*0="_met"; name*1=hod',
    'Content-Disposition: form-data; name*1=hod; name*0="_met"',
    "Content-Disposition: form-data; name*0*=utf-8''%5Fmet; name*1=hod",
    'Content-Disposition: form-data; name="[_method]"',
    'Content-Disposition: form-data; name="=?utf-8?Q?=5Fmethod?="',
    'Content-Disposition: form-data; name="=?utf-8?B?X21ldGhvZA==?="',
    'Content-Disposition: form-data,name=_method',
  ].map((head) => overridden(`a part with ${head}`, FORM_DATA, parts(head))),
  overridden('a part behind the last boundary', FORM_DATA, `--xyz--\r\n${NAMED}`),
  ...[
    'text/json',
    'image/x+json',
    'application/json-patch',
    'application/jsonlines',
    'text/plain; a="/json"',
    'APPLICATION/JSON',
    'application/json; charset=us-ascii',
  ].map((type) => overridden(`JSON as ${type}`, type, JSON_BODY)),
  overridden('JSON in UTF-16 that does not say so', 'application/json', utf16(JSON_BODY)),
  opaque('JSON, compressed', 'application/json', gzipped(JSON_BODY), GZIP),
  opaque('JSON, with an encoding that is none', 'application/json', JSON_BODY, ['Content-Encoding: x']),
  opaque('parts, compressed', FORM_DATA, gzipped(NAMED), GZIP),
  opaque('a form, compressed', 'application/x-www-form-urlencoded', gzipped('_method=DELETE'), GZIP),
  opaque('no type, compressed', null, gzipped('_method=DELETE'), GZIP),
  ...['utf-16', 'utf-16le', 'utf-32', 'utf-7', 'ibm037'].map((charset) =>
    opaque(`JSON in ${charset}`, `application/json; charset=${charset}`, utf16(JSON_BODY)),
  ),
  opaque('parts in utf-16', `${FORM_DATA}; charset=utf-16`, utf16(NAMED)),
  opaque('a charset that only some find', 'application/json; xcharset=utf-16', JSON_BODY),
  ...[
    'multipart/form-data',
    'multipart/form-data; xboundary=xyz',
    'multipart/form-data; boundary=abc; boundary=xyz',
    'multipart/form-data; boundary=abc; xboundary=xyz',
    'multipart/form-data; boundary=abc; a="boundary=xyz"',
    'multipart/form-data; boundary="xyz,abc"',
    "multipart/form-data; boundary*=utf-8''xyz",
  ].map((type) => opaque(`parts as ${type}`, type, NAMED)),
  ...['application/octet-stream', 'image/png', 'application/gzip', 'application/zip', 'application/protobuf'].flatMap(
    (type) => [
      forwarded(`${type}, unread`, post(type, '"_method"'), ['\r\n\r\n"_method"']),
      forwarded(`${type}, compressed`, post(type, '\x1f\x8b', GZIP), ['\r\n\r\n\x1f\x8b']),
    ],
  ),
  forwarded('an empty POST that says it is compressed', post('application/json', '', GZIP), ['content-length: 0']),
  forwarded('a POST without a type that only speaks of methods', post(null, 'payment_method=card&method=a'), [
    '\r\n\r\npayment_method=card&method=a',
  ]),
  forwarded('JSON in another charset that holds ASCII', post('application/json; charset=iso-8859-1', '{"a":"\xe9"}'), [
    '\r\n\r\n{"a":"\xe9"}',
  ]),
  forwarded('parts of an upload', post('multipart/related; boundary="==x=="', '--==x==\r\nContent-ID: a\r\n\r\nb'), [
    'Content-ID: a',
  ]),
]
