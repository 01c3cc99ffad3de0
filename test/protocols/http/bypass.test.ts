import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  CALL_ID,
  callIn,
  connectRaw,
  problemIn,
  type RawUpstream,
  startRawUpstream,
  statusOf,
} from '../../transports/raw.ts'
import { bodies, unreadBodies } from './bypass/bodies.ts'
import type { BypassCase } from './bypass/case.ts'
import { credentials, heads } from './bypass/heads.ts'
import { targets } from './bypass/targets.ts'
import { type Judge, releaseOf, startGateway, type TestGateway } from './gateway.ts'

const TOKEN = 'agents-own.token.value'

describe.each([
  { name: 'request targets', cases: targets },
  { name: 'request heads', cases: heads },
  { name: 'tokens', cases: credentials },
  { name: 'bodies that are read', cases: bodies },
  { name: 'bodies that are not read', cases: unreadBodies },
])('$name', ({ cases }) => {
  let upstream: RawUpstream
  const gateways = new Map<boolean, TestGateway>()

  beforeAll(async () => {
    upstream = await startRawUpstream()
    const options = {
      url: upstream.url,
      credential: { bearer: 'upstream-secret' },
      assertion: false,
      headers: { allow: ['X-Billing-*'] },
      max_body: '1KiB',
    }
    for (const isBodyRead of [true, false]) {
      const judge: Judge = Object.assign<Judge, { needs: string[] }>((...call) => holdOrForward(...call), {
        needs: isBodyRead ? ['body'] : [],
      })
      gateways.set(isBodyRead, await startGateway(judge, [options]))
    }
  })
  afterAll(async () => {
    for (const gateway of gateways.values()) await gateway.close()
    await upstream.close()
  })

  it.each(cases)('$name', async ({ send, isBodyRead = false, status, code, upstream: expected }: BypassCase) => {
    const gateway = gateways.get(isBodyRead)
    if (!gateway) throw new Error('there is no gateway')
    const seenBefore = upstream.seen.length
    const client = connectRaw(gateway.port)
    for (const piece of send) client.send(piece.replaceAll('{token}', TOKEN))
    const received = status === 0 ? await client.closed() : await client.until(isWholeResponse)
    client.socket.destroy()

    expect(statusOf(received)).toBe(status)
    if (code !== undefined) expect(problemIn(received).code).toBe(code)
    if (status !== 0) expect(callIn(received)).toMatch(CALL_ID)
    if (code !== undefined) expect(problemIn(received).call).toBe(callIn(received))
    if (code !== undefined && status !== 401) expect(problemIn(received).detail).toMatch(/^Not executed\. /)
    const seen = upstream.seen.slice(seenBefore)
    if (expected === null) {
      expect(seen).toEqual([])
      return
    }
    expect(seen).toHaveLength(1)
    for (const part of expected.holds) expect(seen[0]).toContain(part)
    for (const part of expected.lacks ?? []) {
      if (typeof part === 'string') expect(seen[0]).not.toContain(part.replaceAll('{token}', TOKEN))
      else expect(seen[0]).not.toMatch(part)
    }
    expect(seen[0]).not.toContain(TOKEN)
  })
})

/** A call under /held waits until its client has gone; others pass. */
const holdOrForward: Judge = async (call, actions, release) => {
  if (actions[0].resource !== '/held') return release()
  await new Promise<void>((resolve) => {
    if (call.gone.aborted) resolve()
    else call.gone.addEventListener('abort', () => resolve())
  })
  return call.forward(releaseOf(call))
}

function isWholeResponse(received: string): boolean {
  const afterInterim = received.replace(/^HTTP\/1\.1 100 Continue\r\n\r\n/, '')
  const end = afterInterim.indexOf('\r\n\r\n')
  if (end === -1) return false
  const length = Number(/\r\ncontent-length: (\d+)/i.exec(afterInterim.slice(0, end + 2))?.[1] ?? 0)
  return afterInterim.length >= end + 4 + length
}
