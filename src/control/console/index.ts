import cookie from '@fastify/cookie'
import formbody from '@fastify/formbody'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { GatewayError } from '../../domain/error.ts'
import type { Role } from '../../domain/principal.ts'
import type { Passkeys } from '../../identity/passkeys.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import type { AgentDesk, ApprovalDesk, AuditDesk, PolicyDesk } from '../desk.ts'
import { createBuckets } from '../rate.ts'
import type { NoticeWire } from '../wire.ts'
import { PAGES, type PageName } from './access.ts'
import { createAgentPages } from './agents.ts'
import { createApprovalPages } from './approvals.ts'
import { readAssets } from './assets.ts'
import { createBookPages } from './books.ts'
import type { FrontDesk, LinkDesk, Linking } from './desk.ts'
import { type Caller, createGuard, isNavigation, mayOpen } from './guard.ts'
import { type Html, html } from './html.ts'
import { createJar } from './jar.ts'
import { layout } from './layout.ts'
import { createLinkPages } from './link.ts'
import { createListPages } from './lists.ts'
import { createLive } from './live.ts'
import { createMePages } from './me.ts'
import { createPasskeyVotes } from './passkeys.ts'
import { type Answer, page, sendPage, type Visit } from './respond.ts'
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

/** The console: pages for people, on the control listener beside the approver API. */
export async function mountConsole(app: FastifyInstance, parts: ConsoleParts): Promise<void> {
  const { queue, desk, passkeys, clock, log } = parts
  const assets = readAssets()
  const jar = createJar(parts)
  const guard = createGuard({ desk, jar, publicUrl: parts.publicUrl })
  const signIn = createSignInPages({ desk, jar, guard })
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
          return send(request, reply, page('Not for you', notFor(caller, PAGES[name]), 403), caller)
        return handle({ request, reply, caller })
      },
    })
  }

  function mount(name: PageName, handle: (visit: Visit) => Promise<Answer>): void {
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

  const books = createBookPages(parts)
  const pages = {
    ...createListPages(parts),
    ...createApprovalPages({ queue, clock, passkeys: createPasskeyVotes(passkeys) }),
    ...createAgentPages(parts),
    ...createMePages(parts),
    ...createLinkPages({ ...parts, jar }),
    ...books.pages,
  }
  for (const [name, show] of entriesOf(pages)) mount(name, show)
  for (const [name, write] of entriesOf(books.files)) {
    open(name, async (visit) => {
      const answer = await write(visit)
      return answer ? send(visit.request, visit.reply, answer, visit.caller) : visit.reply
    })
  }

  const live = createLive(parts)
  open('GET /live', async ({ request, reply, caller }) => live(request, reply, caller))
}

function entriesOf<Handle>(handlers: Partial<Record<PageName, Handle>>): readonly [PageName, Handle][] {
  return Object.entries(handlers) as [PageName, Handle][]
}

function isClientFault(error: unknown): boolean {
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : null
  return error instanceof z.ZodError || (typeof status === 'number' && status >= 400 && status < 500)
}

function notFor({ person }: Caller, roles: readonly Role[]): Html {
  return html`<h1>This page is not for you</h1>
<p>It is for people with ${roles.length === 1 ? 'the role' : 'one of the roles'} ${roles.join(', ')}. ${
    person.roles.length === 0 ? 'You have no role.' : `Yours: ${person.roles.join(', ')}.`
  } The configuration says who has which.</p>
${mayOpen(PAGES['GET /me'], person) && html`<p><a class="button" href="/me">Who you are here</a></p>`}`
}

const TROUBLE: Readonly<Record<400 | 401 | 429 | 500 | 503, Html>> = {
  400: html`<h1>That is not understood</h1><p><a class="button" href="/">To the inbox</a></p>`,
  401: html`<h1>You are signed out</h1><p>Nothing was done. <a href="/sign-in">Sign in</a>, and try again.</p>`,
  429: html`<h1>Slow down</h1><p>Too many requests. Wait some seconds, and load the page again.</p>`,
  500: html`<h1>Something went wrong</h1><p>The log says what. Perhaps nothing was done: look before you try again.</p>`,
  503: html`<h1>Not now</h1><p>The store or the identity provider cannot be reached. Nothing was done; try again soon.</p>`,
}
