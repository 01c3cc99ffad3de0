import { z } from 'zod'
import type { Approval, Ballot } from '../../domain/approval.ts'
import { mayApprove } from '../../domain/entitlement.ts'
import { describeGranted, type Grant } from '../../domain/grant.ts'
import { type Covers, coversUpTo, type GrantAsk, type GrantPermit, isWithinPermit } from '../../domain/permit.ts'
import { formatParty, isSameParty, type Person } from '../../domain/principal.ts'
import type { ApprovalDesk } from '../desk.ts'
import { FAULT_DETAILS, GRANT_FAULTS } from '../problem.ts'
import { ballotSchema, grantAskSchema } from '../wire.ts'
import { idOf, reasonField } from './forms.ts'
import type { Caller } from './guard.ts'
import { type Html, html, shown, shownLines } from './html.ts'
import { repliesField } from './questions.ts'
import { type Answer, NOT_THERE, page, redirect, type Visit } from './respond.ts'
import { deadline, moment } from './words.ts'

/** What somebody sends along with a yes. */
interface Sent {
  readonly cardHash: string
  readonly reason: string
  readonly replies: number
}

const askForm = z.object({
  csrf: z.string(),
  card_hash: ballotSchema.shape.card_hash,
  reason: reasonField,
  ...repliesField,
  minutes: z.coerce.number(),
  uses: z.coerce.number(),
  covers: z.string(),
  confirmed: z.literal('yes').optional(),
})

/**
 * Grants: given in two steps, so that what is granted was read as a sentence before; listed, and taken back. `refuse` shows
 * the approval again, with a sentence that says why; `cast` votes.
 */
export function createGrantPages({
  queue,
  refuse,
  cast,
  nowMs,
}: {
  readonly queue: ApprovalDesk
  refuse(id: string, caller: Caller, how: { fault: string; reason: string; status: number }): Promise<Answer>
  cast(id: string, caller: Caller, sent: Sent & Pick<Ballot, 'grant'>): Promise<Answer>
  nowMs(): number
}) {
  async function showGrants({ person, csrf }: Caller, fault: string | null, status = 200): Promise<Answer> {
    const grants = await queue.grants.list(person)
    return page('Grants', grantsBody({ grants, person, csrf, fault, nowMs: nowMs() }), status)
  }

  return {
    'GET /grants': ({ caller }: Visit) => showGrants(caller, null),

    'POST /grants/:id/revoke': async ({ request, caller }: Visit): Promise<Answer> => {
      const id = idOf(request)
      if (id === null) return NOT_THERE
      const result = await queue.grants.revoke({ grant: id, by: caller.person, reason: null, via: 'console' })
      if (result.done) return redirect('/grants')
      return showGrants(caller, GRANT_FAULTS[result.fault][1], result.fault === 'not_found' ? 404 : 403)
    },

    'POST /approvals/:id/grant': async ({ request, caller }: Visit): Promise<Answer> => {
      const id = idOf(request)
      if (id === null) return NOT_THERE
      const form = askForm.parse(request.body)
      const sent = { cardHash: form.card_hash, reason: form.reason, replies: form.replies }
      const asked = grantAskSchema.safeParse({ minutes: form.minutes, uses: form.uses, covers: form.covers })
      const found = await queue.findFor(caller.person, id)
      const permits = found ? permitsFor(found.approval, caller.person, nowMs()) : []
      const grant = asked.data
      if (!found || !grant || !permits.some(({ permit }) => isWithinPermit(grant, permit))) {
        return refuse(id, caller, { fault: FAULT_DETAILS.grant_not_permitted, reason: sent.reason, status: 422 })
      }
      if (form.confirmed === 'yes') return cast(id, caller, { ...sent, grant })
      return page('Grant', confirmationBody({ approval: found.approval, permits, grant, sent, caller, nowMs: nowMs() }))
    },
  }
}

interface Permitted {
  readonly rule: Approval['rules'][number]
  readonly permit: GrantPermit
}

/** What this person may grant with a yes at this moment, rule by rule. */
function permitsFor(approval: Approval, person: Person, nowMs: number): readonly Permitted[] {
  const at = { openedAt: approval.createdAt, at: nowMs }
  return approval.requirements.flatMap((one) =>
    one.grant && mayApprove(one, person, at) ? [{ rule: one.rule, permit: one.grant }] : [],
  )
}

const COVERS_WORDS: Readonly<Record<Covers, string>> = {
  call: 'exactly this call, content and all',
  resource: 'this verb on this resource, any content',
  rule: 'this verb on any resource that the rule holds',
}

/** The first of two steps; null where this person may grant nothing. A form of its own: Enter in it never votes. */
export function grantForm(
  approval: Approval,
  { person, csrf, nowMs }: { readonly person: Person; readonly csrf: string; readonly nowMs: number },
): Html | null {
  const permits = permitsFor(approval, person, nowMs).map(({ permit }) => permit)
  const [first] = permits
  if (!first) return null
  const mostMinutes = Math.max(...permits.map(({ mostMs }) => mostMs / 60_000))
  const mostUses = Math.max(...permits.map((permit) => permit.mostUses))
  const widest = permits.reduce((wide, permit) => (isWider(permit.covers, wide) ? permit.covers : wide), first.covers)
  const isReasonNeeded = approval.requirements.some(({ isReasonRequired }) => isReasonRequired)
  return html`<details><summary>Approve, and the same again</summary>
<p>Without asking you, for a while. What that lets happen is shown before anything is approved.</p>
<form method="post" action="/approvals/${approval.id}/grant" class="decide" id="grant">
<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="card_hash" value="${approval.cardHash}">
<label>Reason for this approval <small>the one above counts with the buttons above it only</small> <textarea name="reason" rows="2" maxlength="2000"${isReasonNeeded && html` required`}></textarea></label>
<label>Minutes, at most ${mostMinutes} <input name="minutes" type="number" min="1" max="${mostMinutes}" value="${mostMinutes}"></label>
<label>Calls, at most ${mostUses} <input name="uses" type="number" min="1" max="${mostUses}" value="${Math.min(mostUses, 5)}"></label>
<label>The same is <select name="covers">${coversUpTo(widest).map((covers) => html`<option value="${covers}">${COVERS_WORDS[covers]}</option>`)}</select></label>
<div class="buttons"><button class="quiet">Read what it would allow</button></div>
</form></details>`
}

function isWider(a: Covers, b: Covers): boolean {
  return coversUpTo(a).length > coversUpTo(b).length
}

/** Nothing is done yet: this is what the reviewer reads before it is. */
function confirmationBody(how: {
  readonly approval: Approval
  readonly permits: readonly Permitted[]
  readonly grant: GrantAsk
  readonly sent: Sent
  readonly caller: Caller
  readonly nowMs: number
}): Html {
  const { approval, grant, sent, caller, nowMs } = how
  const permits = how.permits.filter(({ permit }) => isWithinPermit(grant, permit))
  const { requester: agent, upstream, verb, resource } = approval
  const rules = permits.map(({ rule }) => rule)
  const allows = describeGranted({ agent, upstream, verb, resource, covers: grant.covers, rules })
  return html`<p class="crumbs"><a href="/approvals/${approval.id}">Back, without deciding</a></p>
<h1>Approve, and the same again</h1>
<p>You approve this call. Besides, without asking you:</p>
<p class="note"><b>${shown(allows)}</b>, at most ${grant.uses} ${grant.uses === 1 ? 'time' : 'times'}, until ${moment(nowMs + grant.minutes * 60_000)}.</p>
${grant.covers !== 'call' && permits.map(boundsOf)}
<p>It ends sooner if you or an operator revoke it, or if the rule changes. Each use is recorded with your name.</p>
<form method="post" action="/approvals/${approval.id}/grant" class="decide">
<input type="hidden" name="csrf" value="${caller.csrf}">
<input type="hidden" name="card_hash" value="${sent.cardHash}">
<input type="hidden" name="reason" value="${sent.reason}">
<input type="hidden" name="replies" value="${sent.replies}">
<input type="hidden" name="minutes" value="${grant.minutes}">
<input type="hidden" name="uses" value="${grant.uses}">
<input type="hidden" name="covers" value="${grant.covers}">
<input type="hidden" name="confirmed" value="yes">
<div class="buttons"><button class="approve">Approve, and grant this</button></div>
</form>`
}

/** What the rule itself says of the calls that it holds. */
function boundsOf({ permit: { resources, when } }: Permitted): Html {
  return html`<dl class="facts">
<dt>Resources</dt><dd>${resources ? resources.map((one) => html`<code>${shown(one)}</code> `) : 'every one'}</dd>
<dt>Only when</dt><dd>${when === undefined ? 'always' : html`<code>${shownLines(when)}</code>`}</dd>
</dl>`
}

function grantsBody({
  grants,
  person,
  csrf,
  fault,
  nowMs,
}: {
  readonly grants: readonly Grant[]
  readonly person: Person
  readonly csrf: string
  readonly fault: string | null
  readonly nowMs: number
}): Html {
  return html`<h1>Grants</h1>
${fault !== null && html`<p class="fault" role="alert">${fault}</p>`}
<p>What reviewers let happen again without being asked. Revoked ones end at once, everywhere.</p>
${grants.length === 0 ? html`<p class="empty">None is in force that you may see.</p>` : grants.map((grant) => grantBlock(grant, { person, csrf, nowMs }))}`
}

/** One grant in words, with the button that ends it for those who may. */
export function grantBlock(
  grant: Grant,
  { person, csrf, nowMs }: { readonly person: Person; readonly csrf: string; readonly nowMs: number },
): Html {
  const { id, by, reason, uses, mostUses, until, givenAt, approval } = grant
  const mayEnd = isSameParty(by, person) || person.roles.some((role) => role === 'operator' || role === 'admin')
  return html`<div class="block"><p><b>${shown(describeGranted(grant))}</b></p>
<p>Given by <span title="${shown(formatParty(by))}">${shown(by.name ?? by.subject)}</span> ${moment(givenAt)},
on <a href="/approvals/${approval}">${approval}</a>; ${uses} of ${mostUses} used; until ${moment(until)} (${deadline(until, nowMs)})${
    reason !== null && html`: <q>${shownLines(reason)}</q>`
  }</p>
${
  mayEnd &&
  html`<form method="post" action="/grants/${id}/revoke" class="decide">
<input type="hidden" name="csrf" value="${csrf}">
<div class="buttons"><button class="deny" aria-label="Revoke grant ${id}">Revoke</button></div>
</form>`
}</div>`
}
