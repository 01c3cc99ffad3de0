import pino from 'pino'
import type { ConsoleParts } from '../../src/control/console/index.ts'
import { createControlServer } from '../../src/control/server.ts'
import { startIdentityProvider } from '../../src/demo/identity-provider.ts'
import { findFreePorts } from '../../src/demo/ports.ts'
import { createFrontDesk } from '../../src/identity/front-desk.ts'
import { peopleOptions } from '../../src/identity/options.ts'
import { createPeople } from '../../src/identity/people.ts'
import { createSessions } from '../../src/identity/sessions.ts'
import { createSignIns } from '../../src/identity/sign-in.ts'
import { openDatabase } from '../../src/platform/database.ts'
import { generateKeys, readKeys } from '../../src/platform/load-keys.ts'
import { createTestDatabase } from '../postgres.ts'
import { type Browser, openBrowser, type Seen } from './browser.ts'
import { fakePeople, fakeQueue, type HeldCall } from './people.ts'

export type ConsoleWorld = Awaited<ReturnType<typeof startConsole>>

/** A console with a real OpenID provider and sessions in a real store, over a queue in memory. */
export async function startConsole(
  held: (issuer: string) => readonly HeldCall[],
  { observed = [] as readonly string[], freshMs = 15 * 60_000, idleMs = 3_600_000 } = {},
) {
  await using undo = new AsyncDisposableStack()
  const store = await createTestDatabase()
  undo.defer(() => store.close())
  const log = pino({ level: 'silent' })
  const database = openDatabase({ url: store.url, log })
  undo.defer(() => database.close())
  const ports = await findFreePorts({ control: null, idp: null })
  const base = `http://127.0.0.1:${ports.control}`
  const provider = await startIdentityProvider({
    host: '127.0.0.1',
    port: ports.idp,
    gatewayUrl: 'https://gateway.example.com',
    controlUrl: base,
  })
  undo.defer(() => provider.close())

  // The clock of sessions' freshness, moved by tests.
  let aheadMs = 0
  const clock = { now: () => Date.now() + aheadMs, monotonic: () => performance.now() }
  const issuers = peopleOptions.parse([
    {
      issuer: provider.issuer,
      name: 'idp',
      audience: 'countersign-api',
      client_id: 'countersign-console',
      authorized_parties: ['countersign-console'],
      groups: { claim: 'groups' },
      roles: { auditor: ['group:audit'] },
    },
  ])
  const people = createPeople({ issuers, clock, log })
  undo.defer(() => people.close())
  const signIns = createSignIns({ issuers, people, callbackUrl: `${base}/sign-in/callback`, clock })
  undo.defer(() => signIns.close())
  const keys = readKeys(generateKeys())
  const lifetimeMs = 8 * 3_600_000
  const sessions = createSessions({ database, keys: keys.cookie, limits: { lifetimeMs, idleMs } })
  const desk = { ...createFrontDesk({ signIns, sessions, keys: keys.cookie, clock, freshMs }), lifetimeMs }

  const queue = fakeQueue(held(provider.issuer))
  const watchers = new Set<() => void>()
  const pages: Pick<ConsoleParts, 'desk' | 'watch' | 'publicUrl'> = {
    desk,
    publicUrl: base,
    watch(told) {
      watchers.add(told)
      return () => watchers.delete(told)
    },
  }
  const app = await createControlServer({
    queue,
    people: fakePeople([]),
    console: pages,
    signIn: { issuers: [] },
    observed: () => observed,
    callbacks: [],
    publicUrl: base,
    tls: null,
    log,
    clock,
  })
  undo.defer(() => app.close())
  await app.listen({ host: '127.0.0.1', port: ports.control })

  async function signIn(as: string, { browser = openBrowser(), path = '/' } = {}): Promise<Browser & { seen: Seen }> {
    const asked = await browser.get(base + path)
    const seen = await browser.post(`${asked.url.href}?as=${as}`, {})
    return { ...browser, seen }
  }

  const stack = undo.move()
  return {
    base,
    issuer: provider.issuer,
    store,
    database,
    sessions,
    queue,
    signIn,
    change: () => {
      for (const told of watchers) told()
    },
    watching: () => watchers.size,
    advance: (ms: number) => {
      aheadMs += ms
    },
    stopProvider: () => provider.close(),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
