import { z } from 'zod'
import type { LinkFault } from '../../identity/linking.ts'
import type { Clock } from '../../platform/clock.ts'
import type { FrontDesk, Linking } from './desk.ts'
import type { Caller } from './guard.ts'
import { type Html, html, shown } from './html.ts'
import type { Jar } from './jar.ts'
import { type Answer, page, redirect, type Visit } from './respond.ts'

const paramsSchema = z.object({ service: z.enum(['slack']) })
const querySchema = z.object({ ticket: z.string().max(600).default('') })
const confirmForm = z.object({ csrf: z.string(), proof: z.string().max(2000) })

const NAMES = { slack: 'Slack' } as const
type Service = keyof typeof NAMES

/** A sign-in that is this young was made for it. */
const JUST_NOW_MS = 60_000

/** Linking a chat account: from the ticket to the chat service's sign-in, back, and to a form. */
export function createLinkPages(parts: {
  readonly desk: Pick<FrontDesk, 'lifetimeMs'>
  readonly linking: Linking
  readonly jar: Jar
  readonly clock: Pick<Clock, 'now'>
}) {
  const { desk, linking, jar, clock } = parts

  return {
    'GET /link/:service': async ({ request, caller }: Visit): Promise<Answer> => {
      const { service } = paramsSchema.parse(request.params)
      const { ticket } = querySchema.parse(request.query)
      const found = linking.look(ticket, service)
      if ('fault' in found) return refused(service, found)
      // What the groups are asked with moves to the link: a session that has given it away, or never had it, needs new.
      const isNew = clock.now() - (caller.endsAt - desk.lifetimeMs) < JUST_NOW_MS
      if (!caller.isRenewable && !isNew) return redirect(`/sign-in?${new URLSearchParams({ return: request.url })}`)
      return page(`Link your ${NAMES[service]} account`, offer(service, ticket, caller))
    },

    'GET /link/:service/start': async ({ request, reply, caller }: Visit): Promise<Answer> => {
      const { service } = paramsSchema.parse(request.params)
      const { ticket } = querySchema.parse(request.query)
      const begun = await linking.begin(ticket, service, caller)
      if ('fault' in begun) return refused(service, begun)
      jar.keepLinking(reply, begun.sealed)
      return redirect(begun.url.href)
    },

    'GET /link/:service/callback': async ({ request, reply, caller }: Visit): Promise<Answer> => {
      const { service } = paramsSchema.parse(request.params)
      const sealed = jar.linking(request)
      const query = new URL(request.url, 'http://localhost').searchParams
      const done =
        sealed === null ? ({ fault: 'other_browser' } as const) : await linking.complete(sealed, query, caller)
      jar.dropLinking(reply)
      if ('fault' in done) return refused(service, done)
      return page(`Link your ${NAMES[service]} account`, confirmation(service, done, caller))
    },

    'POST /link/:service': async ({ request, caller }: Visit): Promise<Answer> => {
      const { service } = paramsSchema.parse(request.params)
      const form = confirmForm.safeParse(request.body)
      const done = form.success ? await linking.confirm(form.data.proof, caller) : ({ fault: 'expired' } as const)
      return 'fault' in done ? refused(service, done) : redirect('/me')
    },
  }
}

function offer(service: Service, ticket: string, { person }: Caller): Html {
  const name = NAMES[service]
  return html`<h1>Link your ${name} account</h1>
<p>You are signed in as <b>${shown(person.name ?? person.subject)}</b> <small>${shown(person.issuer)}</small>. If you pressed a button in ${name} just now, sign in there too, as the same account. Then your presses count as votes of this person.</p>
<p>If somebody sent you here, close this page.</p>
<p><a class="button" href="/link/${service}/start?${new URLSearchParams({ ticket }).toString()}">Sign in with ${name}</a></p>`
}

function confirmation(
  service: Service,
  { proof, account, name }: { proof: string; account: { team: string; user: string }; name: string | null },
  { person, csrf }: Caller,
): Html {
  const chat = NAMES[service]
  return html`<h1>Link this ${chat} account?</h1>
<dl class="facts">
<dt>${chat} account</dt><dd><b>${shown(name ?? account.user)}</b> <small>${account.user} of ${account.team}</small></dd>
<dt>Person</dt><dd><b>${shown(person.name ?? person.subject)}</b> <small>${shown(person.issuer)}</small></dd>
</dl>
<p>Whoever uses that ${chat} account will vote as this person. Confirm only if both are you.</p>
<form method="post" action="/link/${service}" class="decide">
<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="proof" value="${proof}">
<div class="buttons"><button class="approve">Link them</button> <a class="button" href="/">Do not</a></div>
</form>`
}

const WHY: Readonly<Record<LinkFault, (name: string) => string>> = {
  expired: (name) => `This link is not one of ours, or too old. Press the button in ${name} again to get a new one.`,
  used: (name) => `This link was used already. Press the button in ${name} again to get a new one.`,
  other_browser: () =>
    'It was begun in another browser, or by another person. Open the link again, and stay in one browser.',
  other_account: (name) =>
    `You signed in to ${name} as another account than the one that pressed the button. A link that was passed on links nothing.`,
  not_signed_in: (name) => `${name} did not sign you in.`,
  not_offered: (name) => `This gateway is not configured to link accounts of ${name}.`,
  account_taken: (name) =>
    `This ${name} account belongs to another person. They, or an admin, have to unlink it first.`,
  person_taken: (name) =>
    `You have linked another ${name} account of this workspace. Unlink it first, on the page “You”.`,
  signed_out: () => 'Your sign-in ended meanwhile, or is being renewed. Open the link again.',
}

function refused(service: Service, { fault, detail }: { fault: LinkFault; detail?: string }): Answer {
  const body = html`<h1>Nothing was linked</h1>
<p>${WHY[fault](NAMES[service])}</p>
${detail !== undefined && html`<p><small>${shown(detail)}</small></p>`}
<p><a class="button" href="/me">To your accounts</a></p>`
  return page('Nothing was linked', body, 403)
}
