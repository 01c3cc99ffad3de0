import { describe, expect, it } from 'vitest'
import { readCredential } from '../../src/transports/http/credential.ts'

describe('readCredential', () => {
  const read = (headers: Record<string, string>, query = '') => readCredential(new Map(Object.entries(headers)), query)
  const basic = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`

  it.each([
    [{ authorization: 'Bearer a.b.c' }, { token: 'a.b.c', via: 'bearer' }],
    [{ authorization: 'bearer  a.b.c ' }, { token: 'a.b.c', via: 'bearer' }],
    [{ authorization: basic('x:a.b.c') }, { token: 'a.b.c', via: 'basic' }],
    [{ 'x-api-key': 'a.b.c' }, { token: 'a.b.c', via: 'api_key' }],
    [
      { authorization: 'AWS4-HMAC-SHA256 x', 'x-api-key': 'a.b.c' },
      { token: 'a.b.c', via: 'api_key' },
    ],
    [{}, { token: null, problem: null }],
  ])('%j', (headers, expected) => {
    expect(read(headers as unknown as Record<string, string>)).toEqual(expected)
  })

  it.each([
    [{ authorization: 'Bearer' }, ''],
    [{ authorization: 'Bearer a b' }, ''],
    [{ authorization: 'Bearer a, Bearer b' }, ''],
    [{ authorization: basic('no-colon') }, ''],
    [{ authorization: 'Basic %%' }, ''],
    [{ authorization: 'Negotiate abc' }, ''],
    [{ 'x-api-key': 'a b' }, ''],
    [{ authorization: 'Bearer a.b.c', 'x-api-key': 'eyJhbGciOiJub25lIn0.eyJhIjoxfQ.x' }, ''],
    [{ authorization: 'Bearer a.b.c' }, 'access_token=x'],
    [{ authorization: 'Bearer a.b.c' }, 'ACCESS_TOKEN=x'],
    [{ authorization: 'Bearer a.b.c' }, 'q=eyJhbGciOiJub25lIn0.eyJhIjoxfQ.'],
  ])('%j with %s is a problem', (headers, query) => {
    const credential = read(headers as unknown as Record<string, string>, query)
    expect(credential).toMatchObject({ token: null, problem: expect.any(String) })
  })

  it('lets other parameters be', () => {
    expect(read({ authorization: 'Bearer a.b.c' }, 'page_token=abc&q=eyJ')).toMatchObject({ token: 'a.b.c' })
  })
})
