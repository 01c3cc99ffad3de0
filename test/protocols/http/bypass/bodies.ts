import { type BypassCase, forwarded, post, request } from './case.ts'

const JSON_TYPE = 'application/json'
const FORM = 'application/x-www-form-urlencoded'

function read(name: string, send: string, [status, code]: readonly [number, string]): BypassCase {
  return { name, send: [send], isBodyRead: true, status, code, upstream: null }
}
const ambiguous = (name: string, body: string, type = JSON_TYPE) => read(name, post(type, body), [400, 'malformed'])
const unreadable = (name: string, send: string) => read(name, send, [415, 'unreadable'])

/** What the body of a request can be made to mean, where a rule reads it. */
export const bodies: readonly BypassCase[] = [
  ambiguous('a key given twice', '{"amount":1,"amount":1000}'),
  ambiguous('a key given twice, once escaped', '{"amount":1,"\\u0061mount":1000}'),
  ambiguous('a key given in two cases', '{"amount":1,"Amount":1000}'),
  ambiguous('a key that folds to another', '{"status":1,"\u00c5\u00bftatus":2}'),
  ambiguous('a key given twice deeper down', '{"a":[{"b":{"c":1,"c":2}}]}'),
  ambiguous('an integer beyond 2^53', '{"id":9007199254740993}'),
  ambiguous('a negative integer beyond 2^53', '{"id":-9007199254740993}'),
  ambiguous('a fraction that a double does not hold', '{"amount":0.10000000000000000001}'),
  ambiguous('a number beyond every double', '{"amount":1e999}'),
  ambiguous('half of a surrogate pair', '{"a":"\\ud800"}'),
  ambiguous('an escaped NUL', '{"a":"b\\u0000c"}'),
  ambiguous('a raw NUL', '{"a":1}\0'),
  ambiguous('a byte order mark', '\xef\xbb\xbf{"a":1}'),
  ambiguous('UTF-16', '{\0"\0a\0"\0:\x001\0}\0'),
  ambiguous('bytes that are not UTF-8', '{"a":"\xff"}'),
  ambiguous('nesting of 65', `${'['.repeat(65)}${']'.repeat(65)}`),
  ambiguous('a comment', '{"a":1/*,"b":2*/}'),
  ambiguous('a comma at the end', '{"a":1,}'),
  ambiguous('single quotes', "{'a':1}"),
  ambiguous('two values', '{"a":1}{"a":2}'),
  ambiguous('NaN', '{"a":NaN}'),
  ambiguous('a leading zero', '{"a":010}'),
  ambiguous('an unfinished string', '{"a":"b'),
  ambiguous('a line break in a string', '{"a":"b\nc"}'),
  ambiguous('a JSON type with a suffix', '{"a":1,"a":2}', 'application/vnd.api+json'),
  ambiguous('a method in a form', 'a=1&_method=DELETE', FORM),
  ambiguous('a semicolon in a form', 'a=1;b=2', FORM),
  ambiguous('a bad escape in a form', 'a=%zz', FORM),
  ambiguous('an escaped NUL in a form', 'a=%00', FORM),
  ambiguous('a form that is not UTF-8', 'a=%ff', FORM),
  ambiguous('a byte order mark in text', '\xef\xbb\xbfabc', 'text/plain'),
  unreadable('a compressed body', post(JSON_TYPE, 'x', ['Content-Encoding: gzip'])),
  unreadable('a body compressed twice', post(JSON_TYPE, 'x', ['Content-Encoding: identity, br'])),
  unreadable('another charset', post('application/json; charset=utf-16', '{}')),
  unreadable('two charsets', post('application/json; charset=utf-8; charset=utf-7', '{}')),
  unreadable('a form with parts', post('multipart/form-data; boundary=x', '--x\r\n\r\n--x--')),
  unreadable('an unknown type', post('application/protobuf', 'abc')),
  unreadable('no type', post(null, '{"a":1}')),
  read('a body declared too large', request('POST /billing/x HTTP/1.1', ['Content-Length: 2000']), [413, 'too_large']),
  read(
    'a chunked body that grows too large',
    request('POST /billing/x HTTP/1.1', ['Transfer-Encoding: chunked'], `7d0\r\n${'a'.repeat(2000)}\r\n`),
    [413, 'too_large'],
  ),
  {
    ...forwarded('white space and order that a rule read', post(JSON_TYPE, ' {"b" : 1.0,\t"a":[ ]} '), [
      '\r\ncontent-length: 22\r\n\r\n {"b" : 1.0,\t"a":[ ]} ',
    ]),
    isBodyRead: true,
  },
  {
    ...forwarded('a key named __proto__', post(JSON_TYPE, '{"__proto__":{"a":1}}'), ['{"__proto__":{"a":1}}']),
    isBodyRead: true,
  },
  {
    ...forwarded('a field given twice in a form', post(FORM, 'a=1&a=2'), ['\r\n\r\na=1&a=2']),
    isBodyRead: true,
  },
  {
    ...forwarded(
      'a chunked body that was read',
      request(
        'POST /billing/x HTTP/1.1',
        ['Content-Type: application/json', 'Transfer-Encoding: chunked'],
        '3;ext=1\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n',
      ),
      ['\r\ncontent-length: 7\r\n\r\n{"a":1}'],
      [/transfer-encoding/i],
    ),
    isBodyRead: true,
  },
]

/** What passes unread passes as it came; forms are read all the same. */
export const unreadBodies: readonly BypassCase[] = [
  forwarded('a body that no rule reads', post(JSON_TYPE, '{"a":1,"a":2}'), ['\r\n\r\n{"a":1,"a":2}']),
  forwarded('a compressed body that no rule reads', post('text/csv', '\x1f\x8b', ['Content-Encoding: gzip']), [
    '\r\ncontent-encoding: gzip\r\n',
    '\r\n\r\n\x1f\x8b',
  ]),
  forwarded('a GET with a body', request('GET /billing/x HTTP/1.1', ['Content-Length: 3'], 'abc'), ['\r\n\r\nabc']),
  forwarded('an empty POST', request('POST /billing/x HTTP/1.1', ['Content-Length: 0']), ['\r\ncontent-length: 0\r\n']),
  { name: 'a method in a form', send: [post(FORM, '_method=DELETE')], status: 400, code: 'malformed', upstream: null },
]
