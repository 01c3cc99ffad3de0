import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import type { Framing } from '../../../src/transports/tcp/frames.ts'
import { createLink, LINK_LIMITS } from '../../../src/transports/tcp/link.ts'
import { connectPair } from './pair.ts'

/** A byte that says how many follow. */
const COUNTED: Framing = {
  headBytes: 1,
  measure: (bytes, at) => ({ bytes: 1 + (bytes[at] ?? 0), take: 'whole' }),
}
const KIB = 1024

let close: () => void = () => {}
afterEach(() => close())

async function pair() {
  const ends = await connectPair()
  close = ends.close
  return ends
}

test('gives messages in order, then null once the peer has closed its side', async () => {
  const { near, far } = await pair()
  const link = createLink(near, COUNTED)
  far.write('\u0001a\u0002bc')
  expect(await link.next()).toEqual({ kind: 'message', bytes: Buffer.from('\u0001a') })
  expect(await link.next()).toEqual({ kind: 'message', bytes: Buffer.from('\u0002bc') })
  const last = link.next()
  far.end()
  expect(await last).toBeNull()
  // The other half is open still.
  link.write(Buffer.from('bye'))
  link.end()
  const [answer] = await once(far, 'data')
  expect(String(answer)).toBe('bye')
})

test('notices a hang-up behind what nobody has taken', async () => {
  const { near, far } = await pair()
  const link = createLink(near, COUNTED)
  far.write(Buffer.alloc(100 * KIB))
  far.end()
  if (!link.gone.aborted) await once(link.gone, 'abort')
  expect(link.closed.aborted).toBe(false)
  expect(link.take()).toEqual({ kind: 'message', bytes: Buffer.from([0]) })
})

test('reads no further ahead than its limit, and goes on when that was taken', async () => {
  const { near, far } = await pair()
  const link = createLink(near, COUNTED, { ...LINK_LIMITS, readAheadBytes: 16 * KIB })
  const total = 8 * KIB * KIB
  far.write(Buffer.alloc(total, 127))
  far.end()
  let taken = 0
  for (let count = 1; ; count++) {
    const frame = await link.next()
    if (frame?.kind !== 'message') break
    taken += frame.bytes.length
    if (count % 4_000 !== 0) continue
    await sleep(5)
    // The stream beneath holds one read of its own.
    expect(link.bytesRead - taken).toBeLessThan(256 * KIB)
  }
  expect(taken).toBe(total)
})

test('waits for a peer that does not read, and for no longer than a stall may last', async () => {
  const { near, far } = await pair()
  far.pause()
  const link = createLink(near, COUNTED, { ...LINK_LIMITS, writeAheadBytes: 64 * KIB, stallMs: 300 })
  let written = 0
  while (await link.room()) {
    expect(near.writableLength).toBeLessThanOrEqual(128 * KIB)
    link.write(Buffer.alloc(64 * KIB))
    written += 64 * KIB
  }
  expect(link.closed.aborted).toBe(true)
  expect(written).toBeGreaterThan(64 * KIB)
})

test('puts back what was not taken when the socket is handed over', async () => {
  const { near, far } = await pair()
  const link = createLink(near, COUNTED)
  far.write('\u0001arest')
  await link.next()
  const released = link.release()
  released.resume()
  const [rest] = await once(released, 'data')
  expect(String(rest)).toBe('rest')
})

test('tells that more lies behind a message', async () => {
  const { near, far } = await pair()
  const link = createLink(near, COUNTED)
  far.write('\u0001ab')
  await link.next()
  expect(link.hasMore).toBe(true)
  far.write(`${'x'.repeat(0x62)}\u0001c`)
  await link.next()
  await link.next()
  expect(link.hasMore).toBe(false)
})
