import { expect, it } from 'vitest'
import { createFrontDesk } from '../../src/identity/front-desk.ts'
import type { Session, Sessions } from '../../src/identity/sessions.ts'
import type { SignIns } from '../../src/identity/sign-in.ts'
import { generateKeys, readKeys } from '../../src/platform/load-keys.ts'
import { personOf } from './people.ts'

const FRESH_MS = 1000

/** One session in memory, and an identity provider that takes every refresh token once. */
function world() {
  let now = 0
  let asking = false
  const unused = () => Promise.reject(new Error('not asked for here'))
  const tokens = { sub: 'finn', idToken: '', refresh: 'token 0' }
  let row: Session | null = { id: 'aa', endsAt: 1e9, person: personOf('finn'), issuerName: 'idp', tokens, checkedAt: 0 }
  const sessions: Sessions = {
    open: unused,
    find: async () => row,
    claim: async () => {
      const mayAsk = !asking
      asking = true
      return mayAsk
    },
    release: async () => {
      asking = false
    },
    update: async (session, signedIn) => {
      row = { ...session, ...signedIn }
    },
    handOver: unused,
    end: async () => {
      row = null
    },
    endAll: unused,
    sweep: unused,
  }
  const used = new Set<string | null>()
  const signIns: SignIns = {
    issuers: [],
    begin: unused,
    complete: unused,
    async renew(signedIn) {
      const { refresh } = signedIn.tokens
      if (used.has(refresh)) return null
      used.add(refresh)
      return { ...signedIn, tokens: { ...signedIn.tokens, refresh: `token ${used.size}` }, checkedAt: now }
    },
    endUrl: unused,
    close: async () => undefined,
  }
  const { cookie: keys } = readKeys(generateKeys())
  const openDesk = (more: Partial<Sessions> = {}) =>
    createFrontDesk({ signIns, sessions: { ...sessions, ...more }, keys, clock: { now: () => now }, freshMs: FRESH_MS })
  return { openDesk, sessions, later: () => (now += FRESH_MS) }
}

it('does not use a refresh token that another request used up between its look and its turn', async () => {
  const { openDesk, sessions, later } = world()
  later()
  const quick = openDesk()
  const slow = openDesk({
    async claim(session) {
      await quick.find('secret')
      return sessions.claim(session)
    },
  })
  expect(await slow.find('secret')).toMatchObject({ checkedAt: FRESH_MS })
  later()
  expect(await quick.find('secret')).toMatchObject({ checkedAt: 2 * FRESH_MS })
})
