import { afterEach, describe, expect, it } from 'vitest'
import { get, request } from '../protocols/http/bypass/case.ts'
import { allow, startGateway } from '../protocols/http/gateway.ts'
import { connectRaw, type Script, startRawUpstream, statusOf } from '../transports/raw.ts'

/** A connection to the upstream carries one call after the other: what is left of one must never begin the next. */

const SMUGGLED = 'DELETE /everything HTTP/1.1\r\nHost: up\r\nContent-Length: 0\r\n\r\n'
const token = (text: string) => text.replaceAll('{token}', 'agents-own.token.value')
const open: { close(): Promise<void> }[] = []
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close()
})

/** Answers each head as soon as it is there, and keeps the connection. */
const answersEarly: Script = (socket, seen) => {
  const heads = seen.split('\r\n\r\n').length - 1
  const answered = (socket as { answered?: number }).answered ?? 0
  Object.assign(socket, { answered: heads })
  for (let count = answered; count < heads; count++) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
}

async function start(script: Script) {
  const upstream = await startRawUpstream(script)
  open.push(upstream)
  const gateway = await startGateway(allow, [{ url: upstream.url, assertion: false }])
  open.push(gateway)
  return { upstream, gateway }
}

async function callAgain(port: number) {
  const client = connectRaw(port)
  client.send(token(get('/billing/next')))
  expect(statusOf(await client.until((text) => text.includes('ok')))).toBe(200)
  client.socket.destroy()
}

describe('the rest of a body', () => {
  it('whose call was answered before it came is not the next request', async () => {
    const { upstream, gateway } = await start(answersEarly)
    const client = connectRaw(gateway.port)
    const length = 200_000
    client.send(token(request('POST /billing/a HTTP/1.1', [`Content-Length: ${length}`], 'a'.repeat(100_000))))
    await client.until((text) => text.includes('ok'))
    client.send(SMUGGLED.padEnd(100_000, 'a'))
    await gateway.ended(1)
    await callAgain(gateway.port)
    for (const seen of upstream.seen) expect(seen.match(/ HTTP\/1\.1\r\n/g)?.length ?? 0).toBeLessThanOrEqual(1)
    expect(upstream.seen.join('')).not.toMatch(/\r\n\r\nDELETE/)
  })

  it('that never came is not made up of the next request', async () => {
    const { upstream, gateway } = await start(() => {})
    const client = connectRaw(gateway.port)
    client.send(token(request('POST /billing/a HTTP/1.1', ['Content-Length: 200000'], 'a'.repeat(100_000))))
    await upstream.until((seen) => seen.includes('aaa'))
    client.socket.destroy()
    expect((await gateway.ended(1)).outcome?.name).toBe('client_gone')
    const next = connectRaw(gateway.port)
    next.send(token(get('/billing/next')))
    await upstream.until((seen) => seen.startsWith('GET /next '))
    next.socket.destroy()
    expect(upstream.seen.filter((seen) => seen.includes('/next'))).toEqual([expect.stringMatching(/^GET \/next /)])
  })

  it.each([
    ['a length that is too small', ['Content-Length: 3'], `abc${SMUGGLED}`],
    ['a last chunk before the end', ['Transfer-Encoding: chunked'], `3\r\nabc\r\n0\r\n\r\n${SMUGGLED}`],
    ['no body at all', [], SMUGGLED],
  ])('behind %s is never sent upstream', async (_what, lines, body) => {
    const { upstream, gateway } = await start(answersEarly)
    const client = connectRaw(gateway.port)
    client.send(token(request('POST /billing/a HTTP/1.1', lines, body)))
    await client.closed()
    await callAgain(gateway.port)
    expect(upstream.seen.join('')).not.toContain('DELETE')
  })

  it('behind a refused upgrade is never sent upstream', async () => {
    const { upstream, gateway } = await start(answersEarly)
    const client = connectRaw(gateway.port)
    const upgrade = get('/billing/a', ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Key: x'])
    client.send(token(upgrade) + SMUGGLED)
    expect(statusOf(await client.closed())).toBe(200)
    await callAgain(gateway.port)
    expect(upstream.seen.join('')).not.toContain('DELETE')
    for (const seen of upstream.seen) expect(seen.match(/ HTTP\/1\.1\r\n/g)?.length).toBe(1)
  })
})
