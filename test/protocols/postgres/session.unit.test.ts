import { once } from 'node:events'
import type { Socket } from 'node:net'
import { duplexPair } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { refuse } from '../../../src/domain/refusal.ts'
import { systemClock } from '../../../src/platform/clock.ts'
import { newCallId } from '../../../src/platform/id.ts'
import { createLogger } from '../../../src/platform/logger.ts'
import { createCatalogMemory } from '../../../src/protocols/postgres/catalog/memory.ts'
import { createCancels } from '../../../src/protocols/postgres/entrance/cancel.ts'
import type { Namer } from '../../../src/protocols/postgres/naming/statement.ts'
import { runSession, type Service } from '../../../src/protocols/postgres/session.ts'
import { upstreamFraming } from '../../../src/protocols/postgres/wire/framing.ts'
import { encodeFrontend } from '../../../src/protocols/postgres/wire/frontend.ts'
import { createRoom } from '../../../src/transports/room.ts'
import { createLink } from '../../../src/transports/tcp/link.ts'
import { query } from './raw.ts'
import { ALICE } from './world.ts'

/** Both ends of a connection in memory, with what a socket has and these lack. */
function connect() {
  const [near, far] = duplexPair({ allowHalfOpen: true })
  near.once('close', () => far.destroy())
  far.once('close', () => near.destroy())
  // What a link asks of a socket is there; the rest of one is not.
  return { near: Object.assign(near, { setNoDelay: () => near }) as unknown as Socket, far }
}

it('a client that does not take its refusals is not read any further', async () => {
  const [client, upstream] = [connect(), connect()]
  let refused = 0
  const service: Service = {
    upstream: { name: 'shop', protocol: 'postgres', labels: {}, mode: 'enforce', waitMs: 60_000 },
    target: { host: '127.0.0.1', port: 1, tls: null, connectTimeoutMs: 1 },
    // Nothing gets as far as that.
    namer: {} as Namer,
    catalog: createCatalogMemory(systemClock),
    cancels: createCancels(),
    publicUrl: 'https://gateway.example.com',
    pass: () => Promise.reject(new Error('nothing is let through here')),
    charge() {
      refused += 1
      return refuse('rate_limited', 'Not executed. Too many.')
    },
    room: createRoom({ total: 1e9, perHolder: 1e9 }),
    draining: new AbortController().signal,
    watch: () => () => {},
    newCallId,
    previewRole: null,
    record: () => Promise.resolve(),
    maxBatchBytes: 64 * 1024,
    maxHeldBytes: 16 * 1024,
    sessionMaxMs: 600_000,
    clock: systemClock,
    log: createLogger({ level: 'fatal' }),
  }
  const framing = upstreamFraming(() => false)
  const running = runSession(
    {
      link: createLink(client.near, framing),
      startup: { user: 'app', database: 'shop', applicationName: '', settings: new Map(), extensions: [] },
      principal: ALICE,
      minor: 0,
    },
    { link: createLink(upstream.near, framing), user: 'app', parameters: new Map(), key: null, notices: [] },
    service,
  )
  const sent = 20_000
  client.far.write(Buffer.concat(Array.from({ length: sent }, () => encodeFrontend(query('SELECT 1')))))
  for (let before = -1; before !== refused; await turn()) before = refused
  expect(refused).toBeGreaterThan(0)
  expect(refused).toBeLessThan(sent / 2)

  client.far.resume()
  client.far.end()
  await running
  expect(refused).toBe(sent)
  if (!client.far.closed) await once(client.far, 'close')
})
