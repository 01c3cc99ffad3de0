import type { AddressInfo } from 'node:net'
import pino from 'pino'
import { onTestFinished } from 'vitest'
import type { FrontDesk } from '../../src/control/console/desk.ts'
import { type ControlParts, createControlServer } from '../../src/control/server.ts'
import type { Person } from '../../src/domain/principal.ts'
import { fakeBooks } from './books.ts'
import { type Browser, openBrowser } from './browser.ts'
import { fakeAgents, fakeLinks, fakePeople, fakeQueue } from './people.ts'

// The console has to know how people reach it before it listens.
export const PUBLIC_URL = 'http://console.example'

/** The listener for people, with its console, over fakes where a test gives nothing of its own, until the test is over. */
export async function listenFor(people: readonly Person[], more: Partial<ControlParts> = {}) {
  const app = await createControlServer({
    agents: fakeAgents(),
    queue: fakeQueue([]),
    people: fakePeople(people),
    signIn: { issuers: [] },
    observed: () => [],
    callbacks: [],
    console: {
      desk: deskOf(people),
      watch: () => () => undefined,
      publicUrl: PUBLIC_URL,
      ...fakeLinks(),
      ...fakeBooks(),
    },
    publicUrl: PUBLIC_URL,
    tls: null,
    log: pino({ level: 'silent' }),
    clock: { now: () => 1_700_000_000_000, monotonic: () => 0 },
    ...more,
  })
  onTestFinished(() => app.close())
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo // it listens on TCP
  const base = `http://127.0.0.1:${port}`

  /** Of somebody who is signed in; of nobody who is, if null. */
  function browserOf(subject: string | null): Browser {
    const browser = openBrowser({ reach: new Map([[PUBLIC_URL, base]]) })
    if (subject !== null) browser.setCookie(PUBLIC_URL, 'countersign', subject)
    return browser
  }
  return { app, base, browserOf }
}

/** Whoever's cookie is their subject is signed in. */
function deskOf(people: readonly Person[]): FrontDesk {
  return {
    issuers: [],
    begin: async () => null,
    complete: async () => ({ fault: 'nobody signs in here' }),
    async find(secret) {
      const person = people.find(({ subject }) => subject === secret)
      return person ? { id: secret, person, checkedAt: 0, endsAt: 1e15, isRenewable: true } : null
    },
    isOpen: async () => true,
    leave: async () => null,
    lifetimeMs: 1000,
  }
}
