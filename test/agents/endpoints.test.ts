import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import Fastify from 'fastify'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { AgentParts, OwnCall } from '../../src/agents/desk.ts'
import { agentEndpoints } from '../../src/agents/endpoints.ts'
import type { Approval } from '../../src/domain/approval.ts'
import type { Stored } from '../../src/domain/call.ts'
import type { Principal } from '../../src/domain/principal.ts'
import { refuse } from '../../src/domain/refusal.ts'
import { createAllowance } from '../../src/policy/allowance.ts'
import { rateOptions } from '../../src/policy/options.ts'
import { AGENT, ISSUER, refund } from '../control/people.ts'

const CALL = '0190aaaa-0000-7000-8000-000000000001'
const ID = '7Q3F000000'
const MIB = 1024 * 1024

const open: { close(): Promise<unknown> }[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map((one) => one.close()))
})

/** A response as it is kept, and how often it was read. */
function kept(stored: Stored, bytes = stored.body.length) {
  const reads = { count: 0 }
  return {
    bytes,
    reads,
    async read() {
      reads.count++
      return stored
    },
  }
}

function held(more: Partial<Approval> = {}, call: Partial<OwnCall> = {}): OwnCall {
  return {
    approval: refund(ID, { callId: CALL, ...more }).approval,
    outcome: null,
    response: null,
    question: null,
    ...call,
  }
}

/** Calls in memory; `become` is what happens to the call, and is told to those who wait. */
function fakeCalls(start: OwnCall) {
  let current = start
  const waiting = new Set<() => void>()
  const waits: number[] = []
  return {
    waits,
    waiting,
    become(next: OwnCall) {
      current = next
      for (const tell of waiting) tell()
    },
    async ownCall(principal: Principal, id: string, patience: { waitMs: number; gone: AbortSignal } | null) {
      if (id !== CALL && id !== ID) return null
      // Deliberately blind to whose it is where nobody waits: the endpoint has to look, too.
      if (!patience) return current
      if (principal.subject !== AGENT.subject || principal.onBehalfOf) return null
      waits.push(patience.waitMs)
      while (!isReached(current) && !patience.gone.aborted) {
        await new Promise<void>((resolve) => {
          const tell = () => {
            waiting.delete(tell)
            resolve()
          }
          waiting.add(tell)
          patience.gone.addEventListener('abort', tell, { once: true })
        })
      }
      return current
    },
  }
}

function isReached({ approval: { state, isDetached }, outcome }: OwnCall): boolean {
  if (!isDetached) return state !== 'pending'
  return state !== 'pending' && state !== 'approved' && (state !== 'spent' || outcome !== null)
}

const OTHER = { ...AGENT, subject: 'another-agent' }

async function serve(calls: AgentParts['calls'], more: Partial<AgentParts> = {}) {
  const app = Fastify({ exposeHeadRoutes: false })
  open.push(app)
  await app.register(agentEndpoints, {
    readCredential: (request) => {
      const [, token] = (request.headers.authorization ?? '').split(' ')
      return token ? { token, via: 'bearer' } : { token: null, problem: null }
    },
    identify: async ({ token }) => {
      if (token === 'agent') return AGENT
      if (token === 'other') return OTHER
      if (token === 'behalf') return { ...AGENT, onBehalfOf: { issuer: ISSUER, subject: 'alice' } }
      const challenge = { error: token === null ? null : 'invalid_token', description: 'a token of an agent is needed' }
      return refuse('unauthenticated', 'Not executed. Send a token.', { challenge })
    },
    admit: () => null,
    begin: () => () => undefined,
    charge: () => null,
    mint: async (principal, upstream) => ({
      upstream,
      user: `cs_${principal.subject}`,
      password: 'a-secret',
      endsAt: Date.UTC(2026, 10, 21, 12),
    }),
    sourceOf: () => '127.0.0.1',
    calls,
    refuseFor: ({ id, state, reason }) =>
      refuse(state === 'denied' ? 'not_approved' : 'expired', `No. ${reason ?? ''}`, { approval: id }),
    gateway: {
      publicUrl: 'https://gateway.example.com',
      upstreams: ['billing', 'orders'],
      minting: ['orders'],
      authorizationServers: [ISSUER],
    },
    jwks: () => ({ keys: [{ kty: 'EC', kid: 'k1' }] }),
    readiness: [],
    monotonicMs: () => 0,
    ...more,
  } satisfies AgentParts)
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo // it listens on TCP
  return (path: string, token: string | null = 'agent', init: RequestInit = {}) =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      ...init,
      headers: { ...(token !== null && { authorization: `Bearer ${token}` }), ...init.headers },
    })
}

describe('an own call', () => {
  it('is told by its id, or by its approval', async () => {
    const ask = await serve(fakeCalls(held()))
    for (const id of [CALL, ID]) {
      const response = await ask(`/.countersign/calls/${id}`)
      expect(response.status).toBe(200)
      expect(response.headers.get('countersign-call')).toBe(CALL)
      expect(response.headers.get('countersign-approval')).toBe(ID)
      expect(await response.json()).toMatchObject({ call: CALL, approval: ID, state: 'pending', reason: null })
    }
  })

  it.each([
    ['another agent', 'other', `/.countersign/calls/${CALL}`],
    ['the same agent on behalf of somebody else', 'behalf', `/.countersign/calls/${CALL}`],
    ['anyone, where there is none', 'agent', '/.countersign/calls/0190aaaa-0000-7000-8000-00000000ffff'],
  ])('does not exist for %s', async (_who, token, path) => {
    const calls = fakeCalls(held())
    const ask = await serve(calls)
    const response = await ask(path, token)
    expect((await ask(`${path}?wait=5`, token)).status).toBe(404)
    expect(response.status).toBe(404)
    expect(response.headers.get('countersign-call')).toBeNull()
    expect(response.headers.get('content-type')).toBe('application/problem+json')
    expect(await response.json()).toMatchObject({ code: 'not_found' })
    expect(calls.waits).toEqual([])
  })

  it('is waited for until it is decided', async () => {
    const calls = fakeCalls(held())
    const ask = await serve(calls)
    const answer = ask(`/.countersign/calls/${CALL}?wait=30`)
    await expect.poll(() => calls.waiting.size).toBe(1)
    calls.become(held({ state: 'denied', reason: 'Not to mallory.' }))
    expect(await (await answer).json()).toMatchObject({ state: 'denied', reason: 'Not to mallory.' })
    expect(calls.waits).toEqual([30_000])
  })

  it('is waited for no longer than a cap', async () => {
    const calls = fakeCalls(held())
    const ask = await serve(calls)
    const answer = ask(`/.countersign/calls/${CALL}?wait=9999`)
    await expect.poll(() => calls.waiting.size).toBe(1)
    expect(calls.waits).toEqual([50_000])
    calls.become(held({ state: 'approved' }))
    expect((await answer).status).toBe(200)
  })

  it('is no longer waited for when the agent has left', async () => {
    const calls = fakeCalls(held())
    const ask = await serve(calls)
    const leave = new AbortController()
    const answer = ask(`/.countersign/calls/${CALL}?wait=30`, 'agent', { signal: leave.signal })
    await expect.poll(() => calls.waiting.size).toBe(1)
    leave.abort()
    await expect(answer).rejects.toThrow()
    await expect.poll(() => calls.waiting.size).toBe(0)
  })

  it.each(['-1', '1.5', 'soon', ''])('is not waited for %j seconds', async (wait) => {
    const ask = await serve(fakeCalls(held()))
    const response = await ask(`/.countersign/calls/${CALL}?wait=${wait}`)
    expect([response.status, await response.json()]).toMatchObject([400, { code: 'malformed' }])
  })
})

describe('a credential', () => {
  const PATH = '/.countersign/credentials'
  const order = (body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}): RequestInit => ({
    method: 'POST',
    body,
    headers: { 'content-type': 'application/json', ...headers },
  })
  const ORDERS = order('{"upstream": "orders"}')

  it('is minted for whom the token proves, and kept by nobody on its way', async () => {
    const ask = await serve(fakeCalls(held()))
    const response = await ask(PATH, 'other', ORDERS)
    expect(response.status).toBe(201)
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(response.headers.get('content-type')).toBe('application/json')
    expect(await response.json()).toEqual({
      upstream: 'orders',
      user: 'cs_another-agent',
      password: 'a-secret',
      expires_at: '2026-11-21T12:00:00.000Z',
    })
  })

  it.each<[string, RequestInit, number, string]>([
    ['an upstream that nobody knows', order('{"upstream": "payroll"}'), 404, 'not_found'],
    ['an upstream that takes tokens only', order('{"upstream": "billing"}'), 404, 'not_found'],
    ['nothing', { method: 'POST', headers: { 'content-type': 'application/json' } }, 400, 'malformed'],
    ['what is no JSON', order('upstream=orders'), 400, 'malformed'],
    ['a name twice', order('{"upstream": "billing", "upstream": "orders"}'), 400, 'malformed'],
    ['a key that nobody knows', order('{"upstream": "orders", "lifetime": "8h"}'), 400, 'malformed'],
    ['a name that is none', order('{"upstream": ["orders"]}'), 400, 'malformed'],
    [
      'another type',
      order('upstream=orders', { 'content-type': 'application/x-www-form-urlencoded' }),
      415,
      'unreadable',
    ],
    [
      'a type that begins alike',
      order('{"upstream": "orders"}', { 'content-type': 'application/jsonl' }),
      415,
      'unreadable',
    ],
    ['a compressed body', order(gzipSync('{"upstream": "orders"}'), { 'content-encoding': 'gzip' }), 415, 'unreadable'],
    ['a body that is too large', order(`{"upstream": "orders"${' '.repeat(2000)}}`), 413, 'too_large'],
  ])('is not minted for %s', async (_what, init, status, code) => {
    const mint = vi.fn<AgentParts['mint']>()
    const ask = await serve(fakeCalls(held()), { mint })
    const response = await ask(PATH, 'agent', init)
    expect([response.status, await response.json()]).toMatchObject([
      status,
      { code, detail: expect.stringMatching(/^Not minted\. /) },
    ])
    expect(mint).not.toHaveBeenCalled()
  })

  it('is not minted without a token, nor for an agent that asks too often', async () => {
    const mint = vi.fn<AgentParts['mint']>()
    const ask = await serve(fakeCalls(held()), { mint, admit: () => refuse('rate_limited', 'Slow down.') })
    expect((await ask(PATH, null, ORDERS)).status).toBe(401)
    expect((await ask(PATH, 'agent', ORDERS)).status).toBe(429)
    expect(mint).not.toHaveBeenCalled()
  })

  it('is refused as the store has it', async () => {
    const refusal = refuse('rate_limited', 'Not minted. Too many.', { retryAfterS: 12.5 })
    const ask = await serve(fakeCalls(held()), { mint: async () => refusal })
    const response = await ask(PATH, 'agent', ORDERS)
    expect(response.headers.get('retry-after')).toBe('13')
    expect([response.status, await response.json()]).toMatchObject([429, { code: 'rate_limited' }])
  })

  it.each(['GET', 'PUT', 'DELETE'])('is nothing to %s', async (method) => {
    const ask = await serve(fakeCalls(held()))
    expect((await ask(PATH, 'agent', { method })).status).toBe(404)
  })
})

describe('a detached call', () => {
  const detached = { isDetached: true }
  const refunded = {
    head: {
      status: 201,
      headers: ['Content-Type', 'text/x-refund', 'Set-Cookie', 'a=b', 'X-Billing-Id', '7', 'Countersign-Call', 'x'],
    },
    body: Buffer.from([1, 2, 3]),
  }

  it.each(['pending', 'approved', 'spent'] as const)('that is %s and has not ended is answered 202', async (state) => {
    const ask = await serve(fakeCalls(held({ ...detached, state })))
    const response = await ask(`/.countersign/calls/${CALL}`)
    expect([response.status, response.headers.get('retry-after')]).toEqual([202, '2'])
    expect(await response.json()).toMatchObject({ state, detached: true, outcome: null })
  })

  it('gives the response of the upstream once it is done', async () => {
    const calls = fakeCalls(held({ ...detached, state: 'approved' }))
    const ask = await serve(calls)
    const answer = ask(`/.countersign/calls/${CALL}?wait=30`)
    await expect.poll(() => calls.waiting.size).toBe(1)
    calls.become(held({ ...detached, state: 'spent' }))
    await expect.poll(() => calls.waiting.size).toBe(1)
    calls.become(held({ ...detached, state: 'spent' }, { outcome: 'forwarded', response: kept(refunded) }))
    const response = await answer
    expect(response.status).toBe(201)
    expect(Buffer.from(await response.arrayBuffer())).toEqual(refunded.body)
    expect(response.headers.get('content-type')).toBe('text/x-refund')
    expect(response.headers.get('x-billing-id')).toBe('7')
    expect(response.headers.get('set-cookie')).toBeNull()
    expect(response.headers.get('countersign-call')).toBe(CALL)
    expect(response.headers.get('countersign-approval')).toBe(ID)
  })

  it('that was denied is refused as the call would have been, with the reason', async () => {
    const ask = await serve(fakeCalls(held({ ...detached, state: 'denied', reason: 'Not to mallory.' })))
    const response = await ask(`/.countersign/calls/${ID}`)
    expect(response.status).toBe(403)
    expect(await response.json()).toMatchObject({
      code: 'not_approved',
      detail: 'No. Not to mallory.',
      approval: ID,
      call: CALL,
      status_url: `https://gateway.example.com/.countersign/calls/${ID}`,
    })
  })

  it.each([
    ['upstream_failed', 502, 'upstream_failed'],
    ['upstream_timeout', 504, 'upstream_timeout'],
    ['unknown', 502, 'upstream_failed'],
    ['cut', 502, 'upstream_failed'],
    ['client_gone', 502, 'upstream_failed'],
    ['refused', 403, 'withdrawn'],
    ['forwarded', 404, 'not_found'],
    ['pending', 404, 'not_found'],
  ] as const)('whose outcome is %s, without a response, is answered %d', async (outcome, status, code) => {
    const ask = await serve(fakeCalls(held({ ...detached, state: 'spent' }, { outcome })))
    const response = await ask(`/.countersign/calls/${CALL}`)
    expect([response.status, await response.json()]).toMatchObject([status, { code }])
  })

  it('has its response charged for by its bytes, and its status not', async () => {
    const charged: [Principal, number][] = []
    const calls = fakeCalls(held({ ...detached, state: 'approved' }))
    const ask = await serve(calls, {
      charge(principal, bytes) {
        charged.push([principal, bytes])
        return null
      },
    })
    expect((await ask(`/.countersign/calls/${CALL}`)).status).toBe(202)
    expect(charged).toEqual([])
    calls.become(held({ ...detached, state: 'spent' }, { outcome: 'forwarded', response: kept(refunded, MIB) }))
    expect((await ask(`/.countersign/calls/${CALL}`)).status).toBe(201)
    expect(charged).toEqual([[AGENT, MIB]])
  })

  it('is not read again and again for one agent', async () => {
    const clock = { at: 0, monotonic: () => clock.at }
    const { take: admit, charge } = createAllowance({ options: rateOptions.parse({}), clock })
    const response = kept(refunded, MIB)
    const ask = await serve(fakeCalls(held({ ...detached, state: 'spent' }, { outcome: 'forwarded', response })), {
      admit,
      charge,
    })
    const askAll = () => Promise.all(Array.from({ length: 20 }, () => ask(`/.countersign/calls/${CALL}`)))
    const answers = await askAll()
    expect(response.reads.count).toBe(1)
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
    const refused = answers.find(({ status }) => status === 429)
    expect(Number(refused?.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(refused?.headers.get('countersign-call')).toBe(CALL)
    // The call was executed: nobody is to make it again.
    expect(await refused?.json()).toMatchObject({
      code: 'rate_limited',
      call: CALL,
      detail: expect.not.stringMatching(/Not executed/),
    })
    clock.at += 1000
    await askAll()
    expect(response.reads.count).toBe(2)
  })

  it('whose stored response is not one is not answered with it', async () => {
    const response = kept({ head: { status: 99, headers: ['odd'] }, body: Buffer.from('x') })
    const ask = await serve(fakeCalls(held({ ...detached, state: 'spent' }, { outcome: 'forwarded', response })))
    expect((await ask(`/.countersign/calls/${CALL}`)).status).toBe(404)
  })
})

describe('who the gateway takes one for', () => {
  it('is told without anything of the token', async () => {
    const ask = await serve(fakeCalls(held()))
    expect(await (await ask('/.countersign/whoami', 'behalf')).json()).toEqual({
      issuer: ISSUER,
      subject: 'support-agent',
      on_behalf_of: { issuer: ISSUER, subject: 'alice' },
      actors: [],
      owner: { issuer: ISSUER, subject: 'olivia' },
      groups: ['idp/support-agents'],
      client: 'support-agent',
      expires_at: '2027-01-15T08:00:00.000Z',
    })
  })

  it.each([
    [null, 'Bearer error_description='],
    ['bad', 'Bearer error="invalid_token", error_description='],
  ])('is told to nobody else: %s', async (token, challenge) => {
    const ask = await serve(fakeCalls(held()))
    for (const path of ['/.countersign/whoami', `/.countersign/calls/${CALL}`]) {
      const response = await ask(path, token)
      expect(response.status).toBe(401)
      const header = response.headers.get('www-authenticate') ?? ''
      expect(header).toContain(challenge)
      expect(header).toContain('resource_metadata="https://gateway.example.com/.well-known/oauth-protected-resource"')
    }
  })

  it('is not told to one who asks too often', async () => {
    const admit = () => refuse('rate_limited', 'Not executed. Too many calls.', { retryAfterS: 1 })
    const ask = await serve(fakeCalls(held()), { admit })
    const response = await ask('/.countersign/whoami')
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '1'])
  })
})

describe('a request for an agent', () => {
  /** Notes each request that begins and ends; so many may be open. */
  function counting(most: number) {
    const counted = { open: 0, begun: 0 }
    return {
      counted,
      admit: () => (counted.open < most ? null : refuse('rate_limited', 'Not executed. Too many.', { retryAfterS: 1 })),
      begin() {
        counted.open++
        counted.begun++
        return () => void counted.open--
      },
    }
  }

  it('is under way while it waits', async () => {
    const calls = fakeCalls(held())
    const { counted, ...parts } = counting(1)
    const ask = await serve(calls, parts)
    const waiting = ask(`/.countersign/calls/${CALL}?wait=30`)
    await vi.waitFor(() => expect(calls.waiting.size).toBe(1))
    expect((await ask('/.countersign/whoami')).status).toBe(429)
    calls.become(held({ state: 'approved' }))
    expect((await waiting).status).toBe(200)
    expect(counted).toEqual({ open: 0, begun: 1 })
  })

  it('is over when its client left', async () => {
    const calls = fakeCalls(held())
    const { counted, ...parts } = counting(1)
    const ask = await serve(calls, parts)
    const leaving = new AbortController()
    const waiting = ask(`/.countersign/calls/${CALL}?wait=30`, 'agent', { signal: leaving.signal }).catch(() => null)
    await vi.waitFor(() => expect(calls.waiting.size).toBe(1))
    leaving.abort()
    await waiting
    await vi.waitFor(() => expect(counted).toEqual({ open: 0, begun: 1 }))
  })

  it('is over when it failed, and never began when it was refused', async () => {
    const calls = {
      ownCall: () => Promise.reject(new Error('the store is gone')),
    }
    const { counted, ...parts } = counting(1)
    const ask = await serve(calls, parts)
    expect((await ask(`/.countersign/calls/${CALL}`)).status).toBe(500)
    expect((await ask('/.countersign/whoami', 'bad')).status).toBe(401)
    expect(counted).toEqual({ open: 0, begun: 1 })
  })
})

describe('discovery', () => {
  it('names the resource and whose tokens it takes (RFC 9728)', async () => {
    const ask = await serve(fakeCalls(held()))
    const whole = await ask('/.well-known/oauth-protected-resource', null)
    expect(whole.headers.get('content-type')).toMatch(/^application\/json/)
    expect(await whole.json()).toMatchObject({
      resource: 'https://gateway.example.com',
      authorization_servers: [ISSUER],
      bearer_methods_supported: ['header'],
    })
    const one = await ask('/.well-known/oauth-protected-resource/billing', null)
    expect(await one.json()).toMatchObject({ resource: 'https://gateway.example.com/billing' })
  })

  it('gives the keys of assertions', async () => {
    const ask = await serve(fakeCalls(held()))
    expect(await (await ask('/.well-known/jwks.json', null)).json()).toEqual({ keys: [{ kty: 'EC', kid: 'k1' }] })
  })

  it.each([
    '/.countersign',
    '/.countersign/',
    '/.countersign/nothing',
    '/.countersign/calls/',
    '/.countersign/calls/a/b',
    '/.well-known/oauth-protected-resource/unknown',
    '/.well-known/oauth-protected-resource/billing/more',
  ])('answers %s with a problem', async (path) => {
    const ask = await serve(fakeCalls(held()))
    for (const method of ['GET', 'POST', 'DELETE']) {
      const response = await ask(path, 'agent', { method })
      expect([response.status, response.headers.get('content-type')]).toEqual([404, 'application/problem+json'])
    }
  })

  it('answers a reserved path with a problem for a method it does not have', async () => {
    const ask = await serve(fakeCalls(held()))
    for (const path of ['/.countersign/whoami', `/.countersign/calls/${CALL}`]) {
      const response = await ask(path, 'agent', { method: 'POST' })
      expect([response.status, await response.json()]).toMatchObject([404, { code: 'not_found' }])
    }
  })
})

describe('health', () => {
  it('is alive without asking anything', async () => {
    const ask = await serve(fakeCalls(held()), {
      readiness: [{ name: 'store', isOk: () => Promise.reject(new Error()) }],
    })
    expect((await ask('/livez', null)).status).toBe(200)
  })

  it('is ready when every check is well, and says which is not', async () => {
    let isDraining = false
    const ask = await serve(fakeCalls(held()), {
      monotonicMs: (() => {
        let ms = 0
        return () => (ms += 2000)
      })(),
      readiness: [
        { name: 'store', isOk: async () => true },
        { name: 'draining', isOk: () => !isDraining },
      ],
    })
    const well = await ask('/readyz', null)
    expect([well.status, await well.json()]).toEqual([200, { ready: true, checks: { store: true, draining: true } }])
    isDraining = true
    const ill = await ask('/readyz', null)
    expect([ill.status, await ill.json()]).toEqual([503, { ready: false, checks: { store: true, draining: false } }])
  })

  it('takes a check that fails for ill, and tells nothing more of it', async () => {
    const ask = await serve(fakeCalls(held()), {
      readiness: [{ name: 'store', isOk: () => Promise.reject(new Error('password is hunter2')) }],
    })
    const response = await ask('/readyz', null)
    expect(response.status).toBe(503)
    expect(await response.text()).not.toContain('hunter2')
  })

  it('asks its checks at most once a second, however many ask', async () => {
    let asked = 0
    const isOk = () => {
      asked += 1
      return true
    }
    const ask = await serve(fakeCalls(held()), { readiness: [{ name: 'store', isOk }] })
    await Promise.all(Array.from({ length: 20 }, () => ask('/readyz', null)))
    expect(asked).toBe(1)
  })
})
