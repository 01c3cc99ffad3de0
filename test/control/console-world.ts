import pino from 'pino'
import type { ConsoleParts } from '../../src/control/console/index.ts'
import { createControlServer } from '../../src/control/server.ts'
import { findFreePorts } from '../../src/demo/ports.ts'
import type { Grant } from '../../src/domain/grant.ts'
import { createFrontDesk } from '../../src/identity/front-desk.ts'
import { peopleOptions } from '../../src/identity/options.ts'
import { createPeople } from '../../src/identity/people.ts'
import { createSessions } from '../../src/identity/sessions.ts'
import { createSignIns } from '../../src/identity/sign-in.ts'
import { openDatabase } from '../../src/platform/database.ts'
import { generateKeys, readKeys } from '../../src/platform/load-keys.ts'
import { createTestDatabase } from '../postgres.ts'
import { fakeBooks } from './books.ts'
import { type Browser, openBrowser, type Seen } from './browser.ts'
import { HOSTILE } from './console-held.ts'
import { startTestProvider } from './console-provider.ts'
import { fakeAgents, fakeLinks, fakePeople, fakeQueue, type HeldCall } from './people.ts'

export type ConsoleWorld = Awaited<ReturnType<typeof startConsole>>

export interface ConsoleOptions {
  readonly observed?: readonly string[]
  readonly freshMs?: number
  readonly idleMs?: number
  /** How people reach it, if not as it listens. */
  readonly publicUrl?: string
  /** The names of the identity providers. */
  readonly providers?: readonly string[]
  /** `sign_in` of each entry of `people`. */
  readonly signIn?: unknown
  readonly isLikeGoogle?: boolean
  /** Those in force. */
  readonly grants?: (issuer: string) => readonly Grant[]
}

/**
 * Two replicas of a console with real OpenID providers and sessions in a real store, over a queue in memory. One is
 * `base`, the other `second`.
 */
export async function startConsole(
  held: (issuer: string) => readonly HeldCall[],
  {
    observed = [],
    freshMs = 15 * 60_000,
    idleMs = 3_600_000,
    publicUrl,
    providers: names = ['idp'],
    signIn: signInOptions = {},
    isLikeGoogle = false,
    grants = () => [],
  }: ConsoleOptions = {},
) {
  await using undo = new AsyncDisposableStack()
  const store = await createTestDatabase()
  undo.defer(() => store.close())
  const log = pino({ level: 'silent' })
  const database = openDatabase({ url: store.url, log })
  undo.defer(() => database.close())
  const wanted = { control: null, second: null, ...Object.fromEntries(names.map((name) => [`idp ${name}`, null])) }
  const ports = await findFreePorts<string>(wanted)
  const base = `http://127.0.0.1:${ports['control']}`
  const second = `http://127.0.0.1:${ports['second']}`
  const publicBase = publicUrl ?? base
  const started = names.map((name) =>
    startTestProvider({ port: ports[`idp ${name}`] ?? 0, controlUrl: publicBase, isLikeGoogle }),
  )
  const providers = await Promise.all(started)
  for (const provider of providers) undo.defer(() => provider.close())
  const [provider] = providers
  if (!provider) throw new Error('nobody can sign in')

  // The clock of sessions' freshness, moved by tests.
  let aheadMs = 0
  const clock = { now: () => Date.now() + aheadMs, monotonic: () => performance.now() }
  const issuers = peopleOptions.parse(
    providers.map(({ issuer }, index) => ({
      issuer,
      name: names[index],
      audience: 'countersign-api',
      client_id: 'countersign-console',
      authorized_parties: ['countersign-console'],
      groups: { claim: 'groups' },
      roles: { auditor: ['group:audit'], operator: ['group:operations'] },
      sign_in: signInOptions,
    })),
  )
  const keys = readKeys(generateKeys())
  const lifetimeMs = 8 * 3_600_000
  const limits = { lifetimeMs, idleMs }
  const sessions = createSessions({ database, keys: keys.cookie, limits })
  const queue = fakeQueue(held(provider.issuer), grants(provider.issuer))
  const watchers = new Set<() => void>()

  for (const port of [ports['control'], ports['second']]) {
    const people = createPeople({ issuers, clock, log })
    undo.defer(() => people.close())
    const signIns = createSignIns({ issuers, people, callbackUrl: `${publicBase}/sign-in/callback`, clock })
    undo.defer(() => signIns.close())
    const pages: Pick<
      ConsoleParts,
      'desk' | 'policy' | 'audit' | 'links' | 'linking' | 'passkeys' | 'watch' | 'publicUrl'
    > = {
      ...fakeLinks(),
      ...fakeBooks(HOSTILE),
      desk: { ...createFrontDesk({ signIns, sessions, keys: keys.cookie, clock, freshMs }), lifetimeMs },
      publicUrl: publicBase,
      watch(told) {
        watchers.add(told)
        return () => watchers.delete(told)
      },
    }
    const app = await createControlServer({
      agents: fakeAgents(),
      queue,
      people: fakePeople([]),
      console: pages,
      signIn: { issuers: [] },
      observed: () => observed,
      callbacks: [],
      publicUrl: publicBase,
      tls: null,
      log,
      clock,
    })
    undo.defer(() => app.close())
    await app.listen({ host: '127.0.0.1', port: port ?? 0 })
  }

  const newBrowser = () => openBrowser({ reach: new Map([[new URL(publicBase).origin, base]]) })

  /** Goes to a page, signs in where that leads, and comes back. */
  async function signIn(
    as: string,
    { browser = newBrowser(), path = '/' } = {},
  ): Promise<Browser & { readonly seen: Seen }> {
    const asked = await browser.get(publicBase + path)
    const seen = await browser.post(`${asked.url.href}?as=${as}`, {})
    return { ...browser, seen }
  }

  const stack = undo.move()
  return {
    /** How people reach it. */
    base: publicBase,
    second,
    issuer: provider.issuer,
    provider,
    providers,
    store,
    database,
    sessions,
    queue,
    newBrowser,
    signIn,
    change: () => {
      for (const told of watchers) told()
    },
    watching: () => watchers.size,
    advance: (ms: number) => {
      aheadMs += ms
    },
    backToNow: () => {
      aheadMs = 0
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
