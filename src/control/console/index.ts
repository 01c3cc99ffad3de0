import cookie from '@fastify/cookie'
import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Ballot, Decision } from '../../domain/approval.ts'
import { GatewayError } from '../../domain/error.ts'
import type { Person } from '../../domain/principal.ts'
import { isRefusal } from '../../domain/refusal.ts'
import type { Passkeys } from '../../identity/passkeys.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import { APPROVAL_ID } from '../cursor.ts'
import type { AgentDesk, ApprovalDesk, AuditDesk, PolicyDesk } from '../desk.ts'
import { FAULT_DETAILS, SWITCH_FAULTS } from '../problem.ts'
import { createBuckets } from '../rate.ts'
import { ballotSchema, type NoticeWire, switchSchema } from '../wire.ts'
import { PAGES, type PageName } from './access.ts'
import { type AgentsView, agentsBody } from './agents.ts'
import { approvalBody } from './approval.ts'
import { readAssets } from './assets.ts'
import { createBookPages } from './books.ts'
import type { FrontDesk, LinkDesk, Linking } from './desk.ts'
import { createGrantPages } from './grants.ts'
import { type Caller, createGuard, isNavigation, mayOpen } from './guard.ts'
import { type Html, html } from './html.ts'
import { createJar } from './jar.ts'
import { layout } from './layout.ts'
import { createLinkPages } from './link.ts'
import { createListPages } from './lists.ts'
import { createLive } from './live.ts'
import { meBody } from './me.ts'
import { createPasskeyPages, passkeyFields } from './passkeys.ts'
import { type Answer, page, redirect, sendPage } from './respond.ts'
import { createSignInPages, forged } from './sign-in.ts'

export interface ConsoleParts {
  readonly queue: ApprovalDesk
  readonly agents: AgentDesk
  readonly policy: PolicyDesk
  readonly audit: AuditDesk
  readonly desk: FrontDesk
  readonly links: LinkDesk
  readonly linking: Linking
  /** Null where browsers make no passkeys. */
  readonly passkeys: Passkeys | null
  /** Tells of every change of an approval, perhaps more than once, until it is stopped. A hint: some may be lost. */
  watch(told: () => void): () => void
  /** What everybody who looks has to know, at this moment. */
  notices(): readonly NoticeWire[]
  readonly publicUrl: string
  readonly log: Logger
  readonly clock: Clock
}

const RECENT = 5

const paramsSchema = z.object({ id: z.string().regex(APPROVAL_ID) })
// Browsers send line ends as CRLF, and an empty field as nothing.
const reasonField = z
  .string()
  .default('')
  .transform((text) => text.replaceAll('\r\n', '\n').trim())
const ballotForm = z.object({
  csrf: z.string(),
  card_hash: ballotSchema.shape.card_hash,
  reason: reasonField,
  ...passkeyFields,
})
const removeForm = z.object({ csrf: z.string(), id: z.uuid() })
const switchForm = z.object({
  csrf: z.string(),
  issuer: z.string().default(''),
  subject: z.string().default(''),
  reason: reasonField,
})

type Handler = (asked: Visit) => Promise<Answer>
interface Visit {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly caller: Caller
}

/** The console: pages for people, on the control listener beside the approver API. */
export async function mountConsole(app: FastifyInstance, parts: ConsoleParts): Promise<void> {
  const { queue, desk, clock, log } = parts
  const assets = readAssets()
  const jar = createJar(parts)
  const guard = createGuard({ desk, jar, publicUrl: parts.publicUrl })
  const signIn = createSignInPages({ desk, jar, guard })
  const link = createLinkPages({ ...parts, jar })
  const passkeys = createPasskeyPages({ ...parts, refuse: showMe })
  const take = createBuckets({ perSecond: 10, burst: 60, maxKeys: 10_000 }, () => clock.monotonic())

  await app.register(cookie)
  // Forms and nothing else: what browsers send without asking first is known, and checked.
  app.removeAllContentTypeParsers()
  await app.register(formbody, { bodyLimit: 16 * 1024 })
  assets.mount(app)

  function send(request: FastifyRequest, reply: FastifyReply, answer: Answer, caller: Caller | null): FastifyReply {
    if ('redirect' in answer) return reply.redirect(answer.redirect, 303)
    const frame = {
      title: answer.title,
      style: assets.urlOf('console.css'),
      script: assets.urlOf('console.js'),
      visitor: caller,
      path: new URL(request.url, 'http://localhost').pathname,
      notices: caller ? parts.notices() : [],
    }
    return sendPage(reply, answer.status, layout(frame, answer.page))
  }

  /** What nobody expected is logged, and a person is told no more than that. */
  app.setErrorHandler((error, request, reply) => {
    const isAway = error instanceof GatewayError
    if (isAway) log.error({ event: 'console_unavailable', err: error }, 'a page could not be made')
    else if (!isClientFault(error)) log.error({ event: 'console_failed', err: error }, 'a page failed')
    const status = isAway ? 503 : isClientFault(error) ? 400 : 500
    return send(request, reply, page('Not done', TROUBLE[status], status), null)
  })

  function open(name: PageName, handle: (visit: Visit) => Promise<FastifyReply>): void {
    const [method = '', url = ''] = name.split(' ')
    app.route({
      method,
      url,
      handler: async (request, reply) => {
        const caller = await guard.find(request)
        if (!caller) return signedOut(request, reply)
        const waitS = take(`${caller.person.issuer}|${caller.person.subject}`)
        if (waitS > 0) {
          reply.header('retry-after', String(Math.ceil(waitS)))
          return send(request, reply, page('Slow down', TROUBLE[429], 429), caller)
        }
        if (method === 'POST' && !guard.isOwnForm(request)) {
          return send(request, reply, page('Not done', forged(), 403), caller)
        }
        if (!mayOpen(PAGES[name], caller.person))
          return send(request, reply, page('Not for you', TROUBLE[403], 403), caller)
        return handle({ request, reply, caller })
      },
    })
  }

  function mount(name: PageName, handle: Handler): void {
    open(name, async (visit) => send(visit.request, visit.reply, await handle(visit), visit.caller))
  }

  function signedOut(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    if (request.method === 'GET' && isNavigation(request))
      return reply.redirect(`/sign-in?${new URLSearchParams({ return: request.url })}`, 303)
    return send(request, reply, page('Signed out', TROUBLE[401], 401), null)
  }

  for (const [url, handle] of [
    ['/sign-in', signIn.choose],
    ['/sign-in/callback', signIn.complete],
  ] as const) {
    app.get(url, async (request, reply) => send(request, reply, await handle(request, reply), null))
  }
  app.post('/sign-out', async (request, reply) => send(request, reply, await signIn.leave(request, reply), null))

  const lists = createListPages(parts)
  mount('GET /', lists['GET /'])
  mount('GET /history', lists['GET /history'])

  mount('GET /approvals/:id', async ({ request, caller }) => {
    const id = idOf(request)
    return id === null ? NOT_THERE : showApproval(id, caller, { fault: null, reason: '', status: 200 })
  })

  for (const way of ['approve', 'deny', 'override'] as const) {
    mount(`POST /approvals/:id/${way}`, async ({ request, caller }) => {
      const id = idOf(request)
      const form = ballotForm.safeParse(request.body)
      const found = id === null ? null : await queue.findFor(caller.person, id)
      if (id === null || !found) return NOT_THERE
      if (!form.success) return page('Not done', forged(), 400)
      const { card_hash: cardHash, reason } = form.data
      // What the digest is nobody sends: it is looked up, and what was signed has to be about it.
      const reviewer =
        way === 'approve' ? await passkeys.prove({ ...found.approval, cardHash }, caller, form.data) : caller.person
      if (typeof reviewer === 'string') return showApproval(id, caller, { fault: reviewer, reason, status: 409 })
      const sent = { cardHash, reason, reviewer }
      const decision = way === 'deny' ? 'deny' : 'approve'
      return castVote(id, caller, { ...sent, decision, ...(way === 'override' && { isOverride: true }) })
    })
  }

  const grants = createGrantPages({
    queue,
    refuse: showApproval,
    cast: (id, caller, sent) => castVote(id, caller, { ...sent, decision: 'approve' }),
    nowMs: () => clock.now(),
  })
  for (const [name, show] of Object.entries(grants)) mount(name as keyof typeof grants, show)

  mount('GET /agents', ({ caller }) => showAgents(caller, { fault: null, given: NOTHING_GIVEN, status: 200 }))
  for (const way of ['suspend', 'resume'] as const) {
    mount(`POST /agents/${way}`, ({ request, caller }) => turn(way, request, caller))
  }

  mount('GET /me', ({ caller }) => showMe(caller, null))
  mount('POST /me/links/remove', async ({ request, caller }) => {
    const { id } = removeForm.parse(request.body)
    const isDone = await parts.links.unlink({ id, by: caller.person, via: 'console' })
    return isDone ? redirect('/me') : showMe(caller, 'Not done. There is no such link, or it is not yours.')
  })
  mount('POST /me/passkeys', passkeys['POST /me/passkeys'])
  mount('POST /me/passkeys/remove', passkeys['POST /me/passkeys/remove'])
  mount('GET /link/:service', ({ request, caller }) => link.look(request, caller))
  mount('GET /link/:service/start', ({ request, reply, caller }) => link.begin(request, reply, caller))
  mount('GET /link/:service/callback', ({ request, reply, caller }) => link.complete(request, reply, caller))
  mount('POST /link/:service', ({ request, caller }) => link.confirm(request, caller))

  const books = createBookPages(parts)
  for (const [name, show] of Object.entries(books.pages)) mount(name as keyof typeof books.pages, show)
  for (const [name, write] of Object.entries(books.files)) {
    open(name as keyof typeof books.files, async (visit) => {
      const answer = await write(visit)
      return answer ? send(visit.request, visit.reply, answer, visit.caller) : visit.reply
    })
  }

  const live = createLive(parts)
  open('GET /live', async ({ request, reply, caller }) => live(request, reply, caller))

  async function turn(way: 'suspend' | 'resume', request: FastifyRequest, caller: Caller): Promise<Answer> {
    const { csrf: _checked, ...given } = switchForm.parse(request.body)
    const asked = switchSchema.safeParse(given)
    if (!asked.success) {
      const [issue] = asked.error.issues
      const fault = `Not done. The ${issue?.path.join('.') ?? 'form'} ${issue?.message ?? 'cannot be kept'}.`
      return showAgents(caller, { fault, given, status: 422 })
    }
    const { reason, ...agent } = asked.data
    const result = await parts.agents[way]({ agent, by: caller.person, reason, via: 'console' })
    if (result.done) return redirect('/agents')
    return showAgents(caller, { fault: SWITCH_FAULTS[result.fault][1], given: NOTHING_GIVEN, status: 403 })
  }

  async function showAgents(
    { person, csrf }: Caller,
    { fault, given, status }: Pick<AgentsView, 'fault' | 'given'> & { status: number },
  ): Promise<Answer> {
    const agents = await parts.agents.list(person)
    return page('Agents', agentsBody({ agents, person, csrf, fault, given }), status)
  }

  async function showMe(caller: Caller, fault: string | null): Promise<Answer> {
    const { person, csrf } = caller
    const [links, own] = await Promise.all([
      parts.links.list(person.roles.includes('admin') ? null : person),
      passkeys.section(caller),
    ])
    return page('You', meBody({ person, csrf, links, passkeys: own, fault }), fault === null ? 200 : 403)
  }

  async function castVote(
    id: string,
    caller: Caller,
    given: { decision: Decision; cardHash: string; reason: string; reviewer?: Person } & Pick<
      Ballot,
      'grant' | 'isOverride'
    >,
  ): Promise<Answer> {
    const { reason, ...ballot } = given
    const checked = ballotSchema.shape.reason.safeParse(reason === '' ? undefined : reason)
    if (!checked.success) {
      const fault = `Not counted. The reason ${checked.error.issues[0]?.message ?? 'cannot be kept'}.`
      return showApproval(id, caller, { fault, reason, status: 422 })
    }
    const result = await queue.vote({
      reviewer: caller.person,
      ...ballot,
      approval: id,
      reason: checked.data ?? null,
      via: 'console',
    })
    if (result.counted) return redirect(`/approvals/${id}`)
    return showApproval(id, caller, { fault: FAULT_DETAILS[result.fault], reason, status: 409 })
  }

  async function showApproval(
    id: string,
    caller: Caller,
    { fault, reason, status }: { fault: string | null; reason: string; status: number },
  ): Promise<Answer> {
    const { person, csrf } = caller
    const found = await queue.findFor(person, id)
    if (!found) return NOT_THERE
    const { approval, card } = found
    const isGrantable = approval.requirements.some(({ grant }) => grant !== undefined)
    const [call, passkey, given, held] = await Promise.all([
      queue.recall(approval),
      passkeys.askFor(approval, caller, clock.now()),
      isGrantable ? queue.grants.list(person) : [],
      queue.list(person, { states: STATES_ALL, requester: approval.requester, limit: RECENT + 1 }),
    ])
    const recent = held.filter((one) => one.id !== id).slice(0, RECENT)
    const exact = isRefusal(call) ? null : call
    const grants = given.filter((one) => one.approval === id)
    const view = {
      approval,
      card,
      call: exact,
      person,
      csrf,
      nowMs: clock.now(),
      fault,
      reason,
      passkey,
      recent,
      grants,
    }
    return page(`${approval.verb} ${approval.resource}`, approvalBody(view), status)
  }
}

function idOf(request: FastifyRequest): string | null {
  const parsed = paramsSchema.safeParse(request.params)
  return parsed.success ? parsed.data.id : null
}

function isClientFault(error: unknown): boolean {
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : null
  return error instanceof z.ZodError || (typeof status === 'number' && status >= 400 && status < 500)
}

const NOTHING_GIVEN = { issuer: '', subject: '', reason: '' }

const STATES_ALL = ['pending', 'approved', 'denied', 'expired', 'withdrawn', 'spent'] as const

const NOT_THERE = page(
  'Not found',
  html`<h1>There is nothing here</h1><p>Or nothing that is shown to you.</p><p><a class="button" href="/">To the inbox</a></p>`,
  404,
)

const TROUBLE: Readonly<Record<400 | 401 | 403 | 429 | 500 | 503, Html>> = {
  400: html`<h1>That is not understood</h1><p><a class="button" href="/">To the inbox</a></p>`,
  401: html`<h1>You are signed out</h1><p>Nothing was done. <a href="/sign-in">Sign in</a>, and try again.</p>`,
  403: html`<h1>This page is not for you</h1><p>Your roles do not open it. <a href="/">To the inbox</a></p>`,
  429: html`<h1>Slow down</h1><p>Too many requests. Wait some seconds, and load the page again.</p>`,
  500: html`<h1>Something went wrong</h1><p>The log says what. Perhaps nothing was done: look before you try again.</p>`,
  503: html`<h1>Not now</h1><p>The store or the identity provider cannot be reached. Nothing was done; try again soon.</p>`,
}
