import type { Approval } from '../../domain/approval.ts'
import { isEntitled } from '../../domain/entitlement.ts'
import { formatParty, isInClosure, isSameParty, type Person } from '../../domain/principal.ts'
import type { ApprovalDesk } from '../desk.ts'
import { CLAIM_FAULTS } from '../problem.ts'
import { idOf } from './forms.ts'
import type { Caller } from './guard.ts'
import { type Html, html, shown } from './html.ts'
import { type Answer, NOT_THERE, redirect, type Visit } from './respond.ts'
import { deadline } from './words.ts'

/** "I am looking at this". `refuse` shows the approval again, with a sentence that says why. */
export function createClaimPages({
  queue,
  refuse,
}: {
  readonly queue: ApprovalDesk
  refuse(id: string, caller: Caller, how: { fault: string; reason: string; status: number }): Promise<Answer>
}) {
  const turn =
    (way: 'claim' | 'release') =>
    async ({ request, caller }: Visit): Promise<Answer> => {
      const id = idOf(request)
      if (id === null) return NOT_THERE
      const result = await queue[way]({ approval: id, by: caller.person, via: 'console' })
      if (result.done) return redirect(`/approvals/${id}`)
      return refuse(id, caller, { fault: CLAIM_FAULTS[result.fault][1], reason: '', status: 409 })
    }
  return { 'POST /approvals/:id/claim': turn('claim'), 'POST /approvals/:id/release': turn('release') }
}

/** Who is looking at it, and the button to say so; null where nobody is, and this person may not. */
export function claimSection(
  approval: Approval,
  { person, csrf, nowMs }: { readonly person: Person; readonly csrf: string; readonly nowMs: number },
): Html | null {
  const { id, state, claim, createdAt, requirements, requester } = approval
  if (state !== 'pending') return null
  const isOwn = claim !== undefined && isSameParty(claim.reviewer, person)
  const moment = { openedAt: createdAt, at: nowMs }
  const mayClaim = !isInClosure(requester, person) && requirements.some((one) => isEntitled(one, person, moment))
  if (!claim && !mayClaim) return null
  const [way, label] = isOwn
    ? ['release', 'I am not looking at it any more']
    : ['claim', claim ? 'Take it over' : 'I am looking at this']
  return html`${claim && html`<p class="note">${looking(approval, person)} (${deadline(claim.until, nowMs)}). Others may vote all the same.</p>`}
${
  mayClaim &&
  html`<form method="post" action="/approvals/${id}/${way}" class="decide">
<input type="hidden" name="csrf" value="${csrf}">
<div class="buttons"><button class="quiet">${label}</button></div>
</form>`
}`
}

/** Who is looking at it, in words; null if nobody says so. */
export function looking({ claim, state }: Approval, person: Person | null): Html | null {
  if (!claim || state !== 'pending') return null
  const { reviewer } = claim
  if (person && isSameParty(reviewer, person)) return html`You are looking at this`
  return html`<span title="${shown(formatParty(reviewer))}">${shown(reviewer.name ?? reviewer.subject)}</span> is looking at this`
}
