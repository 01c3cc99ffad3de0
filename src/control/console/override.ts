import { FRESH_MS, isFresh } from '../../approvals/override.ts'
import type { Approval } from '../../domain/approval.ts'
import { mayOverride } from '../../domain/entitlement.ts'
import { isInClosure, type Person } from '../../domain/principal.ts'
import { type Html, html } from './html.ts'

/** The way to approve in place of the reviewers; null for whom it is not, or where it is too late. */
export function overrideSection(
  approval: Approval,
  { person, csrf, nowMs }: { readonly person: Person; readonly csrf: string; readonly nowMs: number },
): Html | null {
  if (approval.state !== 'pending' || !mayOverride(approval.requirements, person)) return null
  if (isInClosure(approval.requester, person)) return null
  if (approval.votes.some(({ decision }) => decision === 'deny')) return null
  const fresh = new URLSearchParams({ fresh: '1', return: `/approvals/${approval.id}` })
  return html`<details><summary>Override the reviewers</summary>
<p>You approve in place of all reviewers. They are told at once, with your name and your reason, and it is recorded as an override.</p>
${
  isFresh(person, new Date(nowMs))
    ? html`<form method="post" action="/approvals/${approval.id}/override" class="decide" id="override">
<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="card_hash" value="${approval.cardHash}">
<label>Why it cannot wait for them <textarea name="reason" rows="3" maxlength="2000" required></textarea></label>
<div class="buttons"><button class="deny">Override</button></div>
</form>`
    : html`<p>It takes a sign-in of the last ${FRESH_MS / 60_000} minutes: <a href="/sign-in?${fresh.toString()}">sign in again</a>, then come back here.</p>`
}</details>`
}
