import { describe, expect, it } from 'vitest'
import { isRefusal } from '../../../src/domain/refusal.ts'
import type { RequestModel } from '../../../src/protocols/http/model.ts'
import { methodInspector } from '../../../src/protocols/http/override.ts'

const PARTS = 'multipart/form-data; boundary=xyz'

function inspect(contentType: string | null, more: Partial<RequestModel> = {}) {
  const model: RequestModel = {
    ...{ method: 'POST', path: '/a', decodedPath: '/a', query: '', headers: [], upgrade: null },
    ...{ contentType, contentEncoding: null, contentLength: null },
    ...more,
  }
  const inspector = methodInspector(model)
  if (inspector === null || isRefusal(inspector)) throw new Error('nothing looks at this body')
  return inspector
}

/** Whether a body passes that comes in pieces of so many bytes. */
function passes(contentType: string | null, body: Buffer, pieceBytes: number): boolean {
  const look = inspect(contentType)
  for (let at = 0; at < body.length; at += pieceBytes) {
    if (!look(body.subarray(at, at + pieceBytes))) return false
  }
  return true
}

const part = (head: string) => `--xyz\r\n${head}\r\n\r\nDELETE\r\n--xyz--\r\n`
const filler = '<input>\r\n'.repeat(50)

describe('a method in a body', () => {
  it.each([
    ['application/json', `{"a":"${filler}","\\u005fm\\u0065thod":"DELETE"}`],
    ['application/json', Buffer.from('{"_method":"DELETE"}', 'utf16le').toString('latin1')],
    [null, `a=${filler}&%5fm%65tho%64=DELETE`],
    [null, `_method=DELETE`],
    [null, `{"_method":"DELETE"}`],
    ['application/x-www-form-urlencodedish', 'a=1&[_method]=DELETE'],
    [PARTS, filler + part('Content-Disposition: form-data; name="_method"')],
    [PARTS, part(`X-A: ${'b'.repeat(500)}\r\nContent-Disposition: form-data; name*0="_met"; name*1=hod`)],
    [PARTS, part("Content-Disposition: form-data; name*=utf-8''%5fmethod")],
    [PARTS, part('X: name*1=z\r\nContent-Disposition: form-data; name*1=hod; name*0=_met')],
    [PARTS, part('content-id:\r\n <_method>')],
  ])('is found in %s wherever %j is cut', (type, text) => {
    const body = Buffer.from(text, 'latin1')
    for (let cut = 0; cut <= body.length; cut++) {
      const look = inspect(type)
      expect(look(body.subarray(0, cut)) && look(body.subarray(cut))).toBe(false)
    }
    for (const pieceBytes of [1, 2, 3, 7]) expect(passes(type, body, pieceBytes)).toBe(false)
  })

  it.each([
    ['application/json', '{"payment_method":"card","html":"<input name=\\"_method\\">","method":"_"}'],
    [null, 'payment_method=card&a_method=1&_methods=2'],
    [PARTS, part('Content-Disposition: form-data; name="payment_method"; filename="_method.txt"')],
    [PARTS, part('Content-Disposition: form-data; name=a').replace('DELETE', 'name="_method"\r\n\r\n_method=x')],
  ])('is not found in %s where it is none: %j', (type, text) => {
    const body = Buffer.from(text, 'latin1')
    for (const pieceBytes of [1, 2, 3, 7, body.length]) expect(passes(type, body, pieceBytes)).toBe(true)
  })

  it.each([
    ['spaces', 'application/json', ' '.repeat(4_000_000)],
    ['quotes', 'application/json', '"_metho'.repeat(500_000)],
    ['NULs', 'application/json', '\0"'.repeat(2_000_000)],
    ['percent signs', null, '&%5fm%65'.repeat(500_000)],
    ['brackets', null, '['.repeat(4_000_000)],
    ['boundaries', PARTS, '--xyz\r\n\r\n'.repeat(400_000)],
    ['last boundaries', PARTS, '--xyz--'.repeat(500_000)],
    ['what is behind the last boundary', PARTS, `--xyz--\r\n${'b'.repeat(4_000_000)}`],
    ['names', PARTS, `--xyz\r\n${'name= '.repeat(2_500)}\r\n\r\n`.repeat(250)],
    ['numbered names', PARTS, `--xyz\r\n${'name*1=a;'.repeat(1_700)}\r\n\r\n`.repeat(250)],
    ['spaces in heads', PARTS, `--xyz\r\nname${' '.repeat(15_000)}\r\n\r\n`.repeat(250)],
    ['spaces in values', PARTS, `--xyz\r\nname=${' '.repeat(15_000)}\r\n\r\n`.repeat(250)],
    ['encoded words', PARTS, `--xyz\r\n${'=?'.repeat(7_500)}\r\n\r\n`.repeat(250)],
    ['open quotes', PARTS, `--xyz\r\n${`name=a'"`.repeat(1_800)}\r\n\r\n`.repeat(250)],
  ])('is looked for in time that grows with the body alone: %s', { timeout: 10_000 }, (_what, type, text) => {
    const body = Buffer.from(text, 'latin1')
    const startedAt = performance.now()
    passes(type, body, 64 * 1024)
    expect(performance.now() - startedAt).toBeLessThan(10_000)
  })

  it('keeps nothing of what is behind the last boundary', () => {
    const look = inspect(PARTS)
    look(Buffer.from('--xyz--\r\n'))
    const startedAt = performance.now()
    for (let count = 0; count < 200_000; count++) if (!look(Buffer.from('bbbbbbbb'))) throw new Error('refused')
    expect(performance.now() - startedAt).toBeLessThan(10_000)
  })
})

describe('a body that nothing looks at', () => {
  const none = (contentType: string | null, more: Partial<RequestModel> = {}) =>
    methodInspector({
      ...{ method: 'POST', path: '/a', decodedPath: '/a', query: '', headers: [], upgrade: null },
      ...{ contentType, contentEncoding: null, contentLength: null },
      ...more,
    })

  it.each(['application/octet-stream', 'image/png', 'application/gzip', 'text/csv; charset=utf-16'])('%s', (type) => {
    expect(none(type)).toBeNull()
    expect(none(type, { contentEncoding: 'gzip' })).toBeNull()
  })

  it('is that of any method but POST', () => {
    expect(none('application/json', { method: 'PUT', contentEncoding: 'gzip' })).toBeNull()
  })
})
