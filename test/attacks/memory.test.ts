import { describe, expect, it } from 'vitest'
import { createPile } from '../../src/transports/http/pile.ts'
import { createRoom } from '../../src/transports/room.ts'
import { post, request } from '../protocols/http/bypass/case.ts'
import { allow, type Judge, releaseOf, startGateway } from '../protocols/http/gateway.ts'
import { connectRaw, problemIn, startRawUpstream, statusOf } from '../transports/raw.ts'

/** One agent opens as many connections as it likes; what they keep in memory has an end. */

const token = (text: string) => text.replaceAll('{token}', 'agents-own.token.value')

describe('bodies that are read', () => {
  it('find no room beside those of other calls, and room again when these are over', async () => {
    const upstream = await startRawUpstream()
    const waiting = Promise.withResolvers<void>()
    const holding: Judge = Object.assign<Judge, { needs: string[] }>(
      async (call) => {
        await waiting.promise
        return call.forward(releaseOf(call))
      },
      { needs: ['body'] },
    )
    const gateway = await startGateway(holding, [{ url: upstream.url, max_body: '1KiB' }], {
      room: { total: 10_000, perHolder: 2_000 },
    })
    const body = JSON.stringify('a'.repeat(900))
    const send = () => {
      const client = connectRaw(gateway.port)
      client.send(token(post('application/json', body)))
      return client
    }
    const first = [send(), send()]
    // A third one that never comes to its end counts for what has come of it.
    const refused = await send().until((text) => text.includes('}'))
    expect(statusOf(refused)).toBe(429)
    expect(problemIn(refused)).toMatchObject({ code: 'rate_limited' })
    expect(refused).toMatch(/\r\nretry-after: 2\r\n/i)

    waiting.resolve()
    for (const client of first) expect(statusOf(await client.until((text) => text.includes('ok')))).toBe(200)
    expect(statusOf(await send().until((text) => text.includes('ok')))).toBe(200)
    await gateway.close()
    await upstream.close()
  })

  it('give their room back when their clients leave before the end', async () => {
    const gateway = await startGateway(allow, [{ url: 'http://127.0.0.1:1', max_body: '1KiB' }], {
      room: { total: 10_000, perHolder: 1_000 },
    })
    for (let round = 1; round <= 3; round++) {
      const client = connectRaw(gateway.port)
      client.send(token(request('POST /billing/x HTTP/1.1', ['Content-Length: 1000'], 'a'.repeat(900))))
      await new Promise((resolve) => setTimeout(resolve, 20))
      client.socket.destroy()
      expect((await gateway.ended(round)).outcome?.refusal?.code).toBe('malformed')
    }
    await gateway.close()
  })
})

describe('a body in a million chunks', () => {
  it('takes little more memory than its bytes', () => {
    const pile = createPile()
    const before = process.memoryUsage()
    for (let count = 0; count < 1_000_000; count++) pile.add(Buffer.alloc(1, 97))
    const after = process.memoryUsage()
    // Not put together they take 300 MB; a part of that is garbage that was not collected yet.
    expect(after.external - before.external).toBeLessThan(100_000_000)
    expect(pile.bytes).toBe(1_000_000)
    expect(pile.take().equals(Buffer.alloc(1_000_000, 97))).toBe(true)
    expect(pile.bytes).toBe(0)
  })

  it.each([{ size: 200_000 }, { size: 40 }])('streams whole, in few pieces: $size', async ({ size }) => {
    const upstream = await startRawUpstream()
    const gateway = await startGateway(allow, [{ url: upstream.url }])
    const client = connectRaw(gateway.port)
    const chunks = Array.from({ length: size }, (_, at) => `1\r\n${'xyz'[at % 3]}\r\n`).join('')
    client.send(token(request('POST /billing/x HTTP/1.1', ['Transfer-Encoding: chunked'], `${chunks}0\r\n\r\n`)))
    expect(statusOf(await client.until((text) => text.includes('ok')))).toBe(200)
    const sent = upstream.seen.join('')
    expect(sent.match(/\r\n[0-9a-f]+\r\n/g)?.length ?? 0).toBeLessThan(size / 20 + 5)
    expect(sent.slice(sent.indexOf('\r\n\r\n')).replace(/\r\n[0-9a-f]*\r\n/g, '').length).toBeGreaterThanOrEqual(size)
    const { outcome } = await gateway.ended(1)
    expect(outcome).toMatchObject({ name: 'forwarded', bytesIn: size })
    await gateway.close()
    await upstream.close()
  })
})

describe('room', () => {
  it('is shared by all and limited for each', () => {
    const room = createRoom({ total: 100, perHolder: 60 })
    const [a, b, c] = [room.lease('a'), room.lease('a'), room.lease('b')]
    expect([a.take(50), b.take(20), b.take(10), c.take(50), c.take(40), c.take(1)]).toEqual([
      true,
      false,
      true,
      false,
      true,
      false,
    ])
    a.end()
    a.end()
    expect([c.take(20), b.take(30), b.take(10)]).toEqual([true, true, false])
  })
})
