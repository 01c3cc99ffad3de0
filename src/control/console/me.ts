import { formatParty, isSameParty, type Person } from '../../domain/principal.ts'
import type { ChatLink } from '../../identity/chat-links.ts'
import type { Passkeys } from '../../identity/passkeys.ts'
import type { ApprovalDesk } from '../desk.ts'
import { createDelegationPages } from './delegations.ts'
import type { LinkDesk } from './desk.ts'
import { removeForm } from './forms.ts'
import type { Caller } from './guard.ts'
import { type Html, html, shown } from './html.ts'
import { createPasskeyPages } from './passkeys.ts'
import { type Answer, page, redirect, type Visit } from './respond.ts'
import { moment } from './words.ts'

/** The page of whoever is signed in. */
export function createMePages({
  links,
  passkeys,
  queue,
}: {
  readonly links: LinkDesk
  readonly passkeys: Passkeys | null
  readonly queue: Pick<ApprovalDesk, 'delegations'>
}) {
  const ofDelegations = createDelegationPages({ delegations: queue.delegations, refuse: show })
  const ofPasskeys = createPasskeyPages({ passkeys, refuse: show })

  async function show(caller: Caller, fault: string | null): Promise<Answer> {
    const { person, csrf } = caller
    const [linked, section, delegations] = await Promise.all([
      links.list(person.roles.includes('admin') ? null : person),
      ofPasskeys.section(caller),
      ofDelegations.section(caller),
    ])
    return page(
      'You',
      meBody({ person, csrf, links: linked, passkeys: section, delegations, fault }),
      fault === null ? 200 : 403,
    )
  }

  return {
    'GET /me': ({ caller }: Visit) => show(caller, null),

    'POST /me/links/remove': async ({ request, caller }: Visit): Promise<Answer> => {
      const { id } = removeForm.parse(request.body)
      const isDone = await links.unlink({ id, by: caller.person, via: 'console' })
      return isDone ? redirect('/me') : show(caller, 'Not done. There is no such link, or it is not yours.')
    },

    ...ofPasskeys.pages,
    ...ofDelegations.pages,
  }
}

interface MeView {
  readonly person: Person
  readonly csrf: string
  /** Everybody's for an admin, else one's own. */
  readonly links: readonly ChatLink[]
  readonly passkeys: Html
  readonly delegations: Html
  /** Why what was just sent was not done. */
  readonly fault: string | null
}

/** Who one is here, and which chat accounts vote for one. */
function meBody({ person, csrf, links, passkeys, delegations, fault }: MeView): Html {
  const [own, others] = [links.filter((link) => isOwn(link, person)), links.filter((link) => !isOwn(link, person))]
  return html`<h1>You</h1>
${fault !== null && html`<p class="fault" role="alert">${fault}</p>`}
<dl class="facts">
<dt>Name</dt><dd>${person.name === null ? 'not given' : shown(person.name)}</dd>
<dt>Subject</dt><dd><code>${shown(person.subject)}</code></dd>
<dt>Issuer</dt><dd><code>${shown(person.issuer)}</code></dd>
<dt>Groups</dt><dd>${person.groups.length === 0 ? 'none' : person.groups.map(({ name }) => shown(name)).join(', ')}</dd>
<dt>Roles</dt><dd>${person.roles.join(', ')}</dd>
</dl>
<section><h2>Your chat accounts</h2>
${own.length === 0 ? html`<p class="empty">None. Press a button on a card: whoever is not linked yet is sent a link.</p>` : own.map((link) => account(link, csrf))}</section>
${passkeys}
${delegations}
${person.roles.includes('admin') && everybody(others, csrf)}`
}

function everybody(links: readonly ChatLink[], csrf: string): Html {
  return html`<section><h2>Other people's chat accounts <span class="count">${links.length}</span></h2>
${links.length === 0 ? html`<p class="empty">None.</p>` : links.map((link) => account(link, csrf))}</section>`
}

function account({ id, account: { service, team, user }, person, linkedAt }: ChatLink, csrf: string): Html {
  return html`<div class="block"><p><b>${shown(service)}</b> <code>${shown(user)}</code> of <code>${shown(team)}</code>
votes as <span title="${shown(formatParty(person))}">${shown(person.name ?? person.subject)}</span>, since ${moment(linkedAt)}</p>
<form method="post" action="/me/links/remove" class="decide">
<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="id" value="${id}">
<div class="buttons"><button class="deny">Unlink ${shown(user)}</button></div>
</form></div>`
}

function isOwn({ person }: ChatLink, reader: Person): boolean {
  return isSameParty(person, reader)
}
