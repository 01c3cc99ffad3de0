import type { FastifyPluginAsync } from 'fastify'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { ACCESS, type Access, type EndpointName, mayEnter } from '../../src/control/access.ts'
import type { ApprovalDesk } from '../../src/control/desk.ts'
import { ENDPOINTS } from '../../src/control/endpoints.ts'
import { CONTROL_CODES } from '../../src/control/problem.ts'
import type { ControlParts } from '../../src/control/server.ts'
import { problemSchema } from '../../src/control/wire.ts'
import { GatewayError } from '../../src/domain/error.ts'
import { ROLES } from '../../src/domain/principal.ts'
import { listenFor } from './listening.ts'
import { fakeQueue, grantOn, personOf, refund } from './people.ts'

const ID = '7Q3F000000'
const OTHER = '7Q3F000001'
const FAY = { issuer: 'https://idp.example.com', subject: 'fay' }
const NOW_S = Math.floor(Date.now() / 1000)
const FINN = { ...personOf('finn', { groups: ['finance'] }), authenticatedAt: NOW_S }
const FINANCE = [{ kind: 'group', issuerName: null, name: 'finance' }] as const
const OLIVIA = personOf('olivia', { groups: ['finance'] })
const AUD = personOf('aud', { roles: ['reviewer', 'auditor'] })
const STRANGER = personOf('stranger')
const PEOPLE = [FINN, OLIVIA, AUD, STRANGER, ...ROLES.map((role) => personOf(`only-${role}`, { roles: [role] }))]

async function serve(more: Partial<ControlParts> = {}) {
  const given = { ask: { minutes: 30, uses: 20, covers: 'call' }, by: FINN, reason: null } as const
  const grant = { ...grantOn(refund(ID).approval, given), id: ID }
  const requirements = refund(ID).approval.requirements.map((one) => ({ ...one, override: FINANCE }))
  const delegation = { id: ID, person: FINN, delegate: STRANGER, from: 0, until: 1_800_000_000_000, madeAt: 0 }
  const held = [refund(ID, { requirements }), refund(OTHER, { upstream: 'crm' })]
  const queue = fakeQueue(held, [grant], [delegation])
  const clock = { now: () => 0, monotonic: () => 0 }
  const { app, base } = await listenFor(PEOPLE, { queue, console: null, publicUrl: null, clock, ...more })

  async function ask(path: string, { token, ...init }: RequestInit & { token?: string } = {}) {
    const headers = new Headers(init.headers)
    if (token !== undefined) headers.set('authorization', `Bearer ${token}`)
    const response = await fetch(base + path, { ...init, headers })
    const text = await response.text()
    // Every answer of the API is a JSON object.
    return {
      status: response.status,
      headers: response.headers,
      json: JSON.parse(text || '{}') as Record<string, never>,
    }
  }
  function vote(decision: string, { token, body, id = ID }: { token: string; body: unknown; id?: string }) {
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    return ask(`/v1/approvals/${id}/${decision}`, { ...init, token })
  }
  return { app, ask, base, queue, vote }
}

const cardHash = refund(ID).approval.cardHash

/** A request that is well-formed for the endpoint. */
function requestFor(name: EndpointName) {
  const [method = '', path = ''] = name.split(' ')
  const switching = { issuer: 'https://idp.example.com', subject: 'support-agent', reason: 'because' }
  const voting = { card_hash: cardHash, reason: 'because' }
  const revoking = { reason: 'because' }
  const isEmpty = /\/(?:claim|release|end)$/.test(path)
  const delegating = { delegate: FAY, until: '2027-01-01T00:00:00Z' }
  const asking = { question: 'Why?' }
  const onApproval = path.endsWith('/ask') ? asking : voting
  const given = Object.entries({
    '/v1/agents': switching,
    '/v1/grants': revoking,
    '/v1/delegations': delegating,
    '/v1/approvals': onApproval,
  }).find(([start]) => path.startsWith(start))?.[1]
  const body = method === 'POST' ? JSON.stringify(isEmpty ? {} : given) : null
  return { method, path: path.replace(':id', ID), body, headers: body ? { 'content-type': 'application/json' } : {} }
}

describe('endpoint × role', () => {
  const matrix = Object.entries(ACCESS).flatMap(([name, access]: [string, Access]) =>
    ROLES.map((role) => ({ name: name as EndpointName, role, opens: mayEnter(access, [role]) })),
  )

  it.each(matrix)('$role at $name: $opens', async ({ name, role, opens }) => {
    const { ask } = await serve()
    const { path, ...init } = requestFor(name)
    const { status, json } = await ask(path, { ...init, token: `only-${role}` })
    if (opens) expect([status, json['code']]).not.toEqual([403, 'forbidden'])
    else expect([status, json['code']]).toEqual([403, 'forbidden'])
  })

  it.each(Object.entries(ACCESS))('nobody at %s without a token, unless it is open to anyone', async (name, access) => {
    const { ask } = await serve()
    const { path, ...init } = requestFor(name as EndpointName)
    const { status, headers } = await ask(path, init)
    expect(status).toBe(access.roles === null ? 200 : 401)
    if (access.roles !== null) expect(headers.get('www-authenticate')).toBe('Bearer')
  })

  it('has no route that the matrix does not know', async () => {
    const { app } = await serve()
    for (const name of Object.keys(ACCESS)) {
      const [method = '', url = ''] = name.split(' ')
      expect(app.hasRoute({ method, url })).toBe(true)
    }
    const paths = app.printRoutes({ commonPrefix: false }).match(/\(.*?\)/g) ?? []
    const routes = paths.flatMap((methods) => methods.split(', '))
    expect(routes).toHaveLength(Object.keys(ACCESS).length)
  })
})

describe('who stands in for whom', () => {
  async function delegations() {
    const { ask } = await serve()
    const init = (body: object) => ({
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    return {
      list: async (token: string) => (await ask('/v1/delegations', { token })).json,
      make: (token: string, body: object) => ask('/v1/delegations', { ...init(body), token }),
      end: (token: string, id: string) => ask(`/v1/delegations/${id}/end`, { ...init({}), token }),
    }
  }
  const until = '2027-01-01T00:00:00.000Z'

  it('is listed to the two, and everybody’s to admins', async () => {
    const { list } = await delegations()
    const finns = {
      id: ID,
      person: { ...FAY, subject: 'finn', name: 'finn the person' },
      delegate: { ...FAY, subject: 'stranger', name: 'stranger the person' },
      from: '1970-01-01T00:00:00.000Z',
      until: '2027-01-15T08:00:00.000Z',
      made_at: '1970-01-01T00:00:00.000Z',
    }
    for (const token of ['finn', 'finn.read', 'stranger', 'only-admin']) {
      expect(await list(token)).toEqual({ delegations: [finns], notices: [] })
    }
    for (const token of ['olivia', 'only-operator', 'only-auditor']) {
      expect(await list(token)).toEqual({ delegations: [], notices: [] })
    }
  })

  it('is said and ended by whoever is away, or ended by an admin', async () => {
    const { list, make, end } = await delegations()
    const made = await make('olivia', { delegate: FAY, from: '2026-12-01T00:00:00Z', until })
    const delegation = { person: { subject: 'olivia' }, delegate: { ...FAY, name: 'Fay' }, until }
    expect(made).toMatchObject({
      status: 200,
      json: { delegation: { ...delegation, from: '2026-12-01T00:00:00.000Z' } },
    })
    const { id } = made.json['delegation'] ?? { id: '' }
    for (const other of ['stranger', 'only-operator']) {
      expect(await end(other, id)).toMatchObject({ status: 404, json: { code: 'not_found' } })
    }
    expect(await end('olivia', id)).toMatchObject({ status: 200, json: { id } })
    expect(await end('olivia', id)).toMatchObject({ status: 404, json: { code: 'not_found' } })
    expect(await end('only-admin', ID)).toMatchObject({ status: 200, json: { id: ID } })
    expect(await list('only-admin')).toMatchObject({ delegations: [] })
  })

  it.each([
    ['already_delegated', 409, 'finn', { delegate: FAY, until }],
    ['unknown_delegate', 422, 'olivia', { delegate: { ...FAY, subject: 'nobody' }, until }],
    ['self_delegation', 422, 'olivia', { delegate: { ...FAY, subject: 'olivia' }, until }],
    ['bad_period', 422, 'olivia', { delegate: FAY, from: until, until }],
    ['malformed', 400, 'olivia', { delegate: FAY }],
    ['malformed', 400, 'olivia', { delegate: FAY, until: '2027-01-01' }],
    ['malformed', 400, 'olivia', { delegate: { ...FAY, issuer: 'https://idp|x' }, until }],
    ['malformed', 400, 'olivia', { delegate: FAY, until, person: FAY }],
    ['read_only_token', 403, 'olivia.read', { delegate: FAY, until }],
  ])('is refused as %s', async (code, status, token, body) => {
    const { list, make } = await delegations()
    expect(await make(token, body)).toMatchObject({ status, json: { code } })
    expect(await list('only-admin')).toMatchObject({ delegations: [{ id: ID }] })
  })

  it('is not ended by a token that only reads', async () => {
    const { end } = await delegations()
    expect(await end('finn.read', ID)).toMatchObject({ status: 403, json: { code: 'read_only_token' } })
  })
})

it('ends once its last answers are out, though clients would keep their connections', async () => {
  const arrived = Promise.withResolvers<void>()
  const answering = Promise.withResolvers<void>()
  const queue: ApprovalDesk = {
    ...fakeQueue([]),
    async list() {
      arrived.resolve()
      await answering.promise
      return []
    },
  }
  const { app, ask } = await serve({ queue })
  const answer = ask('/v1/approvals', { token: 'finn' })
  await arrived.promise
  const closed = app.close()
  await expect.poll(() => app.server.listening).toBe(false)
  answering.resolve()
  expect((await answer).status).toBe(200)
  const patience = new Promise((resolve) => setTimeout(resolve, 3_000, 'still open'))
  expect(await Promise.race([closed.then(() => 'closed'), patience])).toBe('closed')
})

describe('the OpenAPI document', () => {
  it('has every endpoint, with its operation, its parameters and its answers', async () => {
    const { ask } = await serve()
    const { json } = await ask('/v1/openapi.json')
    const document = openApi.parse(json)
    const described = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
    )
    expect(described.sort()).toEqual(Object.keys(ENDPOINTS).sort())
    for (const name of described as EndpointName[]) {
      const [method = '', path = ''] = name.split(' ')
      const operation = document.paths[path.replace(':id', '{id}')]?.[method.toLowerCase()]
      expect(operation?.security).toEqual(ACCESS[name].roles === null ? [] : [{ person: [] }])
      expect(operation?.parameters.some(({ in: where }) => where === 'path')).toBe(path.includes(':id'))
      for (const code of ENDPOINTS[name].codes) {
        expect(operation?.responses[CONTROL_CODES[code][0]]?.description).toContain(`\`${code}\``)
      }
    }
  })

  it('refers only to schemas that it has', async () => {
    const { ask } = await serve()
    const { json } = await ask('/v1/openapi.json')
    const named = Object.keys(openApi.parse(json).components.schemas)
    const references = [...JSON.stringify(json).matchAll(/"\$ref":"([^"]+)"/g)].map(([, target]) => target)
    expect(references.length).toBeGreaterThan(10)
    for (const target of new Set(references)) expect(named.map((id) => `#/components/schemas/${id}`)).toContain(target)
  })

  it.each(Object.keys(ENDPOINTS) as EndpointName[])('describes what %s really answers', async (name) => {
    const { ask } = await serve({ observed: () => ['billing'] })
    const { path, ...init } = requestFor(name)
    const { roles }: Access = ACCESS[name]
    // Finn is stood in for already.
    const reviewer = name === 'POST /v1/delegations' ? 'aud' : 'finn'
    const token = roles === null || roles.includes('reviewer') ? reviewer : `only-${roles[0]}`
    const answer = await ask(path, { ...init, token })
    expect(answer.status).toBe(200)
    const document = openApi.parse((await ask('/v1/openapi.json')).json)
    const operation = document.paths[path.replace(ID, '{id}')]?.[init.method.toLowerCase()]
    const reference = operation?.responses['200']?.content['application/json']?.schema.$ref ?? ''
    const id = reference.split('/').at(-1)
    // The document's own schemas, not the ones it was made of: what a client's generator would read.
    const schema = { $ref: `#/$defs/${id}`, $defs: inline(document.components.schemas) }
    expect(z.fromJSONSchema(schema).parse(answer.json)).toBeDefined()
    expect(ENDPOINTS[name].response.parse(answer.json)).toEqual(answer.json)
  })

  function inline(schemas: Record<string, unknown>): Record<string, never> {
    return JSON.parse(JSON.stringify(schemas).replaceAll('#/components/schemas/', '#/$defs/'))
  }
})

const answers = z.record(
  z.string(),
  z.object({
    description: z.string(),
    content: z.record(z.string(), z.object({ schema: z.object({ $ref: z.string() }) })),
  }),
)
const openApi = z.object({
  openapi: z.literal('3.1.0'),
  paths: z.record(
    z.string(),
    z.record(
      z.string(),
      z.object({
        operationId: z.string(),
        security: z.array(z.unknown()),
        parameters: z.array(z.object({ name: z.string(), in: z.string() })),
        responses: answers,
      }),
    ),
  ),
  components: z.object({ schemas: z.record(z.string(), z.unknown()) }),
})

describe('what a person sees', () => {
  it('lists what may be seen, newest first, page by page', async () => {
    const { ask } = await serve()
    const first = await ask('/v1/approvals?limit=1&state=pending', { token: 'finn' })
    expect(first.json).toMatchObject({ approvals: [{ id: OTHER, state: 'pending' }], next: `1700000000000.${OTHER}` })
    const second = await ask(`/v1/approvals?limit=1&after=${first.json['next']}`, { token: 'finn' })
    expect(second.json).toMatchObject({ approvals: [{ id: ID }], next: null })
    expect((await ask('/v1/approvals?upstream=crm', { token: 'aud' })).json).toMatchObject({
      approvals: [{ id: OTHER }],
    })
    expect((await ask('/v1/approvals?state=spent,denied', { token: 'finn' })).json).toMatchObject({ approvals: [] })
    expect((await ask('/v1/approvals', { token: 'stranger' })).json).toMatchObject({ approvals: [], next: null })
  })

  it('shows the card as it is hashed, and the exact call', async () => {
    const { ask } = await serve()
    const { json } = await ask(`/v1/approvals/${ID}`, { token: 'finn' })
    const { card, call } = refund(ID)
    expect(json).toMatchObject({ card, approval: { card_hash: cardHash } })
    expect(json['call']).toEqual({
      head: call.head,
      body: { bytes: 29, encoding: 'utf8', content: '{"amount":120,"to":"mallory"}' },
    })
  })

  it('shows bytes that are not text as base64, so that nothing is lost', async () => {
    const bytes = Buffer.from([0xff, 0x00, 0x80])
    const { ask } = await serve({ queue: fakeQueue([{ ...refund(ID), call: { head: {}, body: bytes } }]) })
    const { json } = await ask(`/v1/approvals/${ID}`, { token: 'finn' })
    expect(json).toMatchObject({ call: { body: { bytes: 3, encoding: 'base64', content: bytes.toString('base64') } } })
  })

  it('answers 404 for an approval that is not visible to the person, as for one that does not exist', async () => {
    const { ask, vote, queue } = await serve()
    const hidden = await ask(`/v1/approvals/${ID}`, { token: 'stranger' })
    const missing = await ask('/v1/approvals/0000000000', { token: 'stranger' })
    expect([hidden.status, hidden.json]).toEqual([404, missing.json])
    expect(await ask('/v1/approvals/NOPE', { token: 'stranger' })).toMatchObject({ status: 404, json: missing.json })
    const voted = await vote('approve', { token: 'stranger', body: { card_hash: cardHash } })
    expect([voted.status, voted.json['code']]).toEqual([404, 'not_found'])
    expect(queue.ballots).toEqual([])
  })

  it('shows it to the owner and to auditors as well', async () => {
    const { ask } = await serve()
    for (const token of ['olivia', 'aud', 'finn.read']) {
      expect((await ask(`/v1/approvals/${ID}`, { token })).status).toBe(200)
    }
  })

  it('says wherever one looks that an upstream is only observed', async () => {
    const { ask } = await serve({ observed: () => ['billing', 'crm'] })
    for (const path of ['/v1/whoami', '/v1/approvals', `/v1/approvals/${ID}`]) {
      const { json } = await ask(path, { token: 'finn' })
      expect(json).toMatchObject({ notices: [{ code: 'observe_mode', upstreams: ['billing', 'crm'] }] })
    }
  })

  it('tells a person who they are and whether the token may vote', async () => {
    const { ask } = await serve()
    const { json } = await ask('/v1/whoami', { token: 'finn' })
    expect(json).toMatchObject({ subject: 'finn', groups: ['idp/finance'], roles: ['reviewer'], may_vote: true })
    expect((await ask('/v1/whoami', { token: 'finn.read' })).json).toMatchObject({ subject: 'finn', may_vote: false })
  })
})

describe('a question', () => {
  const body = { question: 'Which order?' }

  it('is asked, shown with its reply, and a yes names how many replies were seen', async () => {
    const { ask, vote, queue } = await serve()
    const asked = await vote('ask', { token: 'finn', body })
    expect(asked.json).toMatchObject({ question: { text: 'Which order?', by: { subject: 'finn' }, reply: null } })
    queue.reply(ID, 'Order 7.')
    const shown = await ask(`/v1/approvals/${ID}`, { token: 'finn.read' })
    expect(shown.json).toMatchObject({ questions: [{ text: 'Which order?', reply: { text: 'Order 7.' } }] })
    const stale = await vote('approve', { token: 'finn', body: { card_hash: cardHash } })
    expect([stale.status, stale.json['code']]).toEqual([409, 'superseded'])
    expect((await vote('approve', { token: 'finn', body: { card_hash: cardHash, replies: 1 } })).status).toBe(200)
    expect(queue.ballots.map(({ replies }) => replies)).toEqual([undefined, 1])
  })

  it.each([
    ['by a token that only reads', 'finn.read', body, 403, 'read_only_token'],
    ['of somebody no rule names', 'aud', body, 403, 'not_entitled'],
    ['of the requesting side', 'olivia', body, 403, 'self_approval'],
    ['about what is not shown to them', 'stranger', body, 404, 'not_found'],
    ['without words', 'finn', { question: ' ' }, 400, 'malformed'],
    ['that is too long', 'finn', { question: 'x'.repeat(1001) }, 400, 'malformed'],
    ['with what a terminal obeys', 'finn', { question: 'a\u001b[2J' }, 400, 'malformed'],
    ['with more than the words', 'finn', { ...body, until: 1 }, 400, 'malformed'],
  ])('is refused %s', async (_case, token, given, status, code) => {
    const { vote } = await serve()
    const answer = await vote('ask', { token, body: given })
    expect([answer.status, answer.json['code']]).toEqual([status, code])
  })

  it('is refused while another is open', async () => {
    const { vote } = await serve()
    await vote('ask', { token: 'finn', body })
    const answer = await vote('ask', { token: 'finn', body })
    expect([answer.status, answer.json['code']]).toEqual([409, 'question_open'])
  })
})

describe('a vote', () => {
  it('is handed to the queue with the card that was seen', async () => {
    const { vote, queue } = await serve()
    const { status, json } = await vote('approve', { token: 'finn', body: { card_hash: cardHash } })
    expect(status).toBe(200)
    expect(json).toMatchObject({ approval: { state: 'approved', votes: [{ decision: 'approve', via: 'api' }] } })
    expect(queue.ballots).toEqual([
      { approval: ID, reviewer: FINN, decision: 'approve', reason: null, via: 'api', cardHash },
    ])
  })

  it('to deny carries the reason, for the agent to learn from', async () => {
    const { vote } = await serve()
    const { json } = await vote('deny', {
      token: 'finn',
      body: { card_hash: cardHash, reason: 'Not to mallory.\nAsk.' },
    })
    expect(json).toMatchObject({ approval: { state: 'denied', reason: 'Not to mallory.\nAsk.' } })
  })

  it.each([
    ['on another card', 'finn', { card_hash: '00'.repeat(32) }, 409, 'superseded'],
    ['of the requesting side', 'olivia', { card_hash: cardHash }, 403, 'self_approval'],
    ['of somebody no rule names', 'aud', { card_hash: cardHash }, 403, 'not_entitled'],
  ])('is refused %s', async (_case, token, body, status, code) => {
    const { vote } = await serve()
    const answer = await vote('approve', { token, body })
    expect([answer.status, answer.json['code']]).toEqual([status, code])
    expect(problemSchema.parse(answer.json).status).toBe(status)
  })

  it('is refused without the reason that a rule asks for, and once it is decided', async () => {
    const { vote } = await serve()
    const silent = await vote('deny', { token: 'finn', body: { card_hash: cardHash } })
    expect([silent.status, silent.json['code']]).toEqual([422, 'reason_required'])
    await vote('deny', { token: 'finn', body: { card_hash: cardHash, reason: 'no' } })
    const late = await vote('approve', { token: 'finn', body: { card_hash: cardHash } })
    expect([late.status, late.json['code']]).toEqual([409, 'already_decided'])
  })

  it('is refused with a token that is for reading, whoever presents it', async () => {
    const { vote, queue } = await serve()
    for (const decision of ['approve', 'deny']) {
      const { status, json, headers } = await vote(decision, {
        token: 'finn.read',
        body: { card_hash: cardHash, reason: 'x' },
      })
      expect([status, json['code']]).toEqual([403, 'read_only_token'])
      expect(headers.get('www-authenticate')).toBe('Bearer error="insufficient_scope"')
    }
    expect(queue.ballots).toEqual([])
  })
})

describe('who gets in', () => {
  it.each([
    ['a token of nobody', { authorization: 'Bearer nobody' }],
    ['Basic', { authorization: `Basic ${btoa('finn:finn')}` }],
    ['a cookie', { cookie: 'token=finn; session=finn' }],
    ['an API key', { 'x-api-key': 'finn' }],
    ['two tokens in one', { authorization: 'Bearer finn, Bearer finn' }],
    ['a token in the URL', {}],
  ])('is not decided by %s', async (_case, headers) => {
    const { ask } = await serve()
    const { status, headers: answered } = await ask('/v1/whoami?access_token=finn', { headers })
    expect(status).toBe(401)
    expect(answered.get('www-authenticate')).toMatch(/^Bearer/)
    expect(answered.get('set-cookie')).toBeNull()
  })

  it('tells an issuer that is down from a bad token', async () => {
    const { ask } = await serve()
    const { status, headers } = await ask('/v1/whoami', { token: 'issuer-down' })
    expect([status, headers.get('retry-after')]).toEqual([503, '3'])
  })

  it('slows down a person who asks too often, and nobody else', async () => {
    const { ask } = await serve()
    const statuses = []
    for (let i = 0; i < 62; i++) statuses.push((await ask('/v1/whoami', { token: 'finn' })).status)
    expect(statuses.filter((status) => status === 429)).toHaveLength(2)
    expect((await ask('/v1/whoami', { token: 'aud' })).status).toBe(200)
  })

  it('slows down a source of bad tokens without shutting out who comes from there', async () => {
    const { ask } = await serve()
    const statuses = []
    for (let i = 0; i < 32; i++) statuses.push((await ask('/v1/whoami', { token: 'nobody' })).status)
    expect(statuses.filter((status) => status === 429)).toHaveLength(2)
    expect((await ask('/v1/whoami', { token: 'finn' })).status).toBe(200)
  })
})

describe('what is not understood', () => {
  async function post(body: string | Buffer, contentType = 'application/json') {
    const { ask, queue } = await serve()
    const headers = { 'content-type': contentType }
    const answer = await ask(`/v1/approvals/${ID}/approve`, { method: 'POST', body, headers, token: 'finn' })
    expect(queue.ballots).toEqual([])
    return [answer.status, answer.json['code']]
  }

  it.each([
    ['an unknown key', JSON.stringify({ card_hash: cardHash, force: true })],
    ['a duplicate key', `{"card_hash":"${cardHash}","card_hash":"${'00'.repeat(32)}"}`],
    ['a card hash that is none', '{"card_hash":"x"}'],
    ['no card hash', '{}'],
    ['an array', `["${cardHash}"]`],
    ['not JSON', 'card_hash=1'],
    ['bytes that are not UTF-8', Buffer.from([0x7b, 0xff, 0x7d])],
    ['NUL in the reason', JSON.stringify({ card_hash: cardHash, reason: 'a\0b' })],
    ['a lone surrogate in the reason', `{"card_hash":"${cardHash}","reason":"\\ud800"}`],
  ])('refuses %s', async (_case, body) => {
    expect(await post(body)).toEqual([400, 'malformed'])
  })

  it('refuses a body that is too large, or of another type', async () => {
    expect(await post(JSON.stringify({ card_hash: cardHash, reason: 'x'.repeat(20_000) }))).toEqual([413, 'too_large'])
    expect(await post(JSON.stringify({ card_hash: cardHash }), 'text/plain')).toEqual([415, 'unreadable'])
    expect(await post('a=b', 'application/x-www-form-urlencoded')).toEqual([415, 'unreadable'])
  })

  it.each([
    '?state=maybe',
    '?limit=0',
    '?limit=101',
    '?after=now',
    `?after=1.${ID}.2`,
    '?limit=1&limit=2',
    '?nonsense=1',
  ])('refuses %s', async (query) => {
    const { ask } = await serve()
    const { status, json } = await ask(`/v1/approvals${query}`, { token: 'finn' })
    expect([status, json['code']]).toEqual([400, 'malformed'])
  })

  it.each([
    ['GET', '/'],
    ['GET', '/console'],
    ['GET', '/v1/approvals/not-an-id'],
    ['DELETE', `/v1/approvals/${ID}`],
    ['HEAD', '/v1/sign-in'],
    ['OPTIONS', '/v1/whoami'],
    ['POST', '/.countersign/whoami'],
    ['GET', '/metrics'],
  ])('answers 404 to %s %s', async (method, path) => {
    const { base } = await serve()
    const response = await fetch(base + path, { method, headers: { authorization: 'Bearer finn' } })
    expect(response.status).toBe(404)
    expect(response.headers.get('access-control-allow-origin')).toBeNull()
  })

  it('answers a path that cannot be decoded as a problem', async () => {
    const { ask } = await serve()
    const { status, json } = await ask('/v1/approvals/%ff', { token: 'finn' })
    expect([status, json['code']]).toEqual([400, 'malformed'])
  })
})

describe('faults', () => {
  function failing(error: Error): ApprovalDesk {
    const fail = () => Promise.reject(error)
    const delegations = { list: fail, known: fail, make: fail, end: fail, absentees: fail }
    const rest = { precedents: fail, claim: fail, release: fail, ask: fail, delegations }
    return { list: fail, findFor: fail, recall: fail, vote: fail, grants: { list: fail, revoke: fail }, ...rest }
  }

  it('answers 503 while the store is away', async () => {
    const { ask } = await serve({ queue: failing(new GatewayError('store', 'secret host')) })
    const { status, json, headers } = await ask('/v1/approvals', { token: 'finn' })
    expect([status, json['code'], headers.get('retry-after')]).toEqual([503, 'unavailable', '5'])
    expect(JSON.stringify(json)).not.toContain('secret')
  })

  it('tells nothing of an unexpected fault, and logs it', async () => {
    const lines: string[] = []
    const log = pino({ level: 'error' }, { write: (line: string) => void lines.push(line) })
    const { ask } = await serve({ queue: failing(new Error('inner workings')), log })
    const { status, json } = await ask('/v1/approvals', { token: 'finn' })
    expect([status, json['code']]).toEqual([500, 'internal'])
    expect(JSON.stringify(json)).not.toContain('inner')
    expect(lines.join()).toContain('inner workings')
  })

  it('keeps every answer out of caches, frames and other sites', async () => {
    const { base } = await serve()
    for (const path of ['/v1/whoami', '/v1/openapi.json', '/nothing', '/v1/approvals/%ff']) {
      const { headers } = await fetch(base + path, { headers: { origin: 'https://evil.example' } })
      expect(headers.get('cache-control')).toBe('no-store')
      expect(headers.get('x-content-type-options')).toBe('nosniff')
      expect(headers.get('content-security-policy')).toContain("default-src 'none'")
      expect(headers.get('access-control-allow-origin')).toBeNull()
    }
  })
})

describe('callbacks of chat services', () => {
  async function withCallback() {
    const seen: { headers: unknown; body: Buffer }[] = []
    const callback: FastifyPluginAsync = async (listener) => {
      listener.removeAllContentTypeParsers()
      listener.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
      listener.post<{ Body: Buffer }>('/slack/events', async ({ headers, body }) => {
        seen.push({ headers, body })
        return 'ok'
      })
    }
    const served = await serve({ callbacks: [callback] })
    return { ...served, seen }
  }

  it('get the bytes as they came, of any type', async () => {
    const { base, seen } = await withCallback()
    const body = 'payload=%7B%22a%22%3A1%7D&x=\u00e9'
    const headers = { 'content-type': 'application/x-www-form-urlencoded', 'x-slack-signature': 'v0=1' }
    const response = await fetch(`${base}/slack/events`, { method: 'POST', body, headers })
    expect([response.status, await response.text()]).toEqual([200, 'ok'])
    expect(seen).toMatchObject([{ body: Buffer.from(body), headers: { 'x-slack-signature': 'v0=1' } }])
  })

  it('have a path that answers nothing else, and open no other', async () => {
    const { base } = await withCallback()
    expect((await fetch(`${base}/slack/events`)).status).toBe(404)
    expect((await fetch(`${base}/slack/events/more`, { method: 'POST' })).status).toBe(404)
    expect((await fetch(`${base}/v1/approvals/${ID}/approve`, { method: 'POST', body: 'x' })).status).toBe(401)
  })

  it('leave every other route to JSON and to tokens of people', async () => {
    const { ask } = await withCallback()
    const init = { method: 'POST', body: 'payload=1', headers: { 'content-type': 'application/x-www-form-urlencoded' } }
    expect((await ask(`/v1/approvals/${ID}/approve`, { ...init, token: 'finn' })).status).toBe(415)
  })
})
