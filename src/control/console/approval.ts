import { isOverride } from '../../approvals/override.ts'
import type { Approval, Vote } from '../../domain/approval.ts'
import type { Stored } from '../../domain/call.ts'
import type { Card, Claimed, Payload } from '../../domain/card.ts'
import type { Absentee } from '../../domain/delegation.ts'
import { findAssuranceNeed, isEntitled, isOpenAt, type Voter } from '../../domain/entitlement.ts'
import type { Grant } from '../../domain/grant.ts'
import { describeAssurance, describeTerms } from '../../domain/need.ts'
import type { Precedents } from '../../domain/precedent.ts'
import { formatParty, isSameParty, type Person } from '../../domain/principal.ts'
import type { Question } from '../../domain/question.ts'
import { type AssuranceNeed, formatRule } from '../../domain/verdict.ts'
import { writeCall } from '../write.ts'
import { stopLink } from './agents.ts'
import { claimSection } from './claims.ts'
import { grantBlock, grantForm } from './grants.ts'
import { type Html, html, shown, shownLines } from './html.ts'
import { overrideSection } from './override.ts'
import { type PasskeyState, passkeyButton } from './passkeys.ts'
import { precedentsSection } from './precedents.ts'
import { questionsSections } from './questions.ts'
import { barOf, deadline, moment, requesterLine, stateBadge, stateSince, throughWords } from './words.ts'

export interface ApprovalView {
  readonly approval: Approval
  /** Null once it was erased. */
  readonly card: Card | null
  /** Null once it can no longer be forwarded. */
  readonly call: Stored | null
  readonly person: Person
  readonly csrf: string
  readonly nowMs: number
  /** Why what was just sent was not counted. */
  readonly fault: string | null
  /** What this person had written as a reason. */
  readonly reason: string
  /** Where an approval takes a passkey. */
  readonly passkey?: PasskeyState | null
  /** The same agent's last calls that were held, newest first. */
  readonly recent: readonly Approval[]
  /** In force, given on this approval. */
  readonly grants?: readonly Grant[]
  /** What was decided on the same call before, as far as this person may see it. */
  readonly precedents?: Precedents | null
  /** What the agent was asked about it, in order. */
  readonly questions?: readonly Question[]
  /** What this person had written as a question. */
  readonly question?: string
  /** Who is away, and for whom this person decides. */
  readonly standsFor?: Absentee
}

/** One approval: who asks is verified, what it would do is derived, why is claimed; never mixed. */
export function approvalBody(view: ApprovalView): Html {
  const { approval, card, fault, recent, grants = [] } = view
  return html`<p class="crumbs"><a href="/">Inbox</a></p>
<h1>${shown(approval.verb)} <code>${shown(approval.resource)}</code> <small>on ${shown(approval.upstream)}</small></h1>
${fault !== null && html`<p class="fault" role="alert">${fault}</p>`}
<section data-live="status" id="status" aria-live="polite">${status(view)}</section>
<section data-live="claim" id="claim" aria-live="polite">${claimSection(approval, { ...view, person: voterOf(view) })}</section>
${card ? blocks(card, view) : html`<p class="empty">What was shown of this call has been erased.</p>`}
${questionsSections(view)}
<section data-live="decision" id="decision" data-key="${approval.state}">${decision(view)}</section>
<section data-live="votes" id="votes"><h2>Votes</h2>${votes(approval)}</section>
${grants.length > 0 && html`<section><h2>Granted with it</h2>${grants.map((grant) => grantBlock(grant, view))}</section>`}
${recent.length > 0 && html`<section><h2>The agent's last held calls</h2><ul class="plain">${recent.map(recentCall)}</ul></section>`}`
}

function status({ approval, nowMs }: ApprovalView): Html {
  const { state, expiresAt, useBy, decidedAt, reason } = approval
  return html`<dl class="facts">
<dt>State</dt><dd>${stateBadge(state)}${decidedAt !== null && html` ${moment(decidedAt)}`}</dd>
${state === 'pending' && html`<dt>To decide by</dt><dd>${moment(expiresAt)} (${deadline(expiresAt, nowMs)})</dd>`}
${state === 'approved' && useBy !== null && html`<dt>To be used by</dt><dd>${moment(useBy)} (${deadline(useBy, nowMs)})</dd>`}
${reason !== null && html`<dt>Reason</dt><dd>${shownLines(reason)}</dd>`}
<dt>Approval</dt><dd><code>${approval.id}</code></dd>
</dl>`
}

function blocks(card: Card, view: ApprovalView): Html {
  return html`<section class="block verified"><h2>Who asks <small>verified by the identity provider</small></h2>${verified(card, view)}</section>
<section class="block derived"><h2>What it would do <small>read from the call itself</small></h2>${derived(card, view)}</section>
${view.precedents && precedentsSection(view.precedents)}
<section class="block claimed"><h2>What the agent says <small>its claim; nobody checked it</small></h2>${claimed(card.claimed)}</section>`
}

function verified({ verified: who }: Card, { approval: { requester }, person }: ApprovalView): Html {
  return html`<p>${requesterLine(requester)}</p>
<dl class="facts">
<dt>Agent</dt><dd>${shown(who.agent)}</dd>
<dt>Issuer</dt><dd>${shown(who.issuer)}</dd>
<dt>On behalf of</dt><dd>${who.onBehalfOf === null ? 'nobody' : shown(who.onBehalfOf)}</dd>
<dt>Owner</dt><dd>${who.owner === null ? 'none' : shown(who.owner)}</dd>
<dt>Groups</dt><dd>${who.groups.length === 0 ? 'none' : who.groups.map(shown).join(', ')}</dd>
</dl>
${stopLink(requester, person)}`
}

function derived({ derived: what, needed }: Card, view: ApprovalView): Html {
  return html`<ul class="plain actions">${what.actions.map(
    ({ verb, resource }) => html`<li><b>${shown(verb)}</b> <code>${shown(resource)}</code></li>`,
  )}</ul>
<dl class="facts">
<dt>Upstream</dt><dd>${shown(what.upstream)}${Object.entries(what.labels).map(
    ([name, value]) => html` <span class="label">${shown(name)}: ${shown(value)}</span>`,
  )}</dd>
<dt>Held by</dt><dd>${what.rules.map(
    ({ name, message }) => html`<div><code>${shown(name)}</code>${message !== null && html`: ${shown(message)}`}</div>`,
  )}</dd>
<dt>Needs</dt><dd>${needed.map(
    ({ reviewers, quorum, ...more }) =>
      html`<div>${[`${quorum} of ${reviewers.map(shown).join(', ')}`, ...describeTerms(more).map(shown)].join('; ')}</div>`,
  )}</dd>
<dt>Digest</dt><dd><code class="digest">${what.digest}</code></dd>
</dl>
${what.notes.map((note) => html`<p class="note">${shown(note)}</p>`)}
${what.payload && payload(what.payload)}
${view.call && exact(view.call)}`
}

function payload({ mediaType, bytes, text, isCut, redacted }: Payload): Html {
  return html`<h3>The call <small>${mediaType === null ? '' : `${shown(mediaType)}, `}${bytes} bytes</small></h3>
${text === null ? html`<p>It is not text.</p>` : html`<pre tabindex="0" aria-label="The call">${markRedacted(shownLines(text))}</pre>`}
${redacted.length > 0 && html`<p class="note">What looks like a secret is not shown: ${redacted.map((at) => html`<code>${at === '' ? 'the whole' : shown(at)}</code> `)}</p>`}
${isCut && html`<p class="note">Not all of it is shown here. All of it is below, as it would be forwarded.</p>`}`
}

const REDACTED = '[redacted]'

function markRedacted(text: string): readonly Html[] {
  return text.split(REDACTED).map((part, index) => html`${index > 0 && html`<mark>${REDACTED}</mark>`}${part}`)
}

/** All of it, nothing cut, nothing redacted. */
function exact(call: Stored): Html {
  const { head, body } = writeCall(call)
  return html`<details><summary>The exact call, secrets and all</summary>
<pre tabindex="0" aria-label="What stands around the body">${shownLines(JSON.stringify(head, null, 2))}</pre>
<p>${body.bytes} bytes of body${body.encoding === 'base64' && ', in base64 since they are not text'}</p>
${body.bytes > 0 && html`<pre tabindex="0" aria-label="The body">${shownLines(body.content)}</pre>`}
</details>`
}

function claimed({ reason, model, prompt, conversation, trace }: Claimed): Html {
  const said = [
    ['Reason', reason],
    ['Model', model],
    ['Prompt', prompt],
    ['Conversation', conversation],
    ['Trace', trace],
  ] as const
  if (said.every(([, text]) => text === undefined)) return html`<p class="empty">Nothing.</p>`
  return html`<dl class="facts">${said.map(
    ([label, text]) => text !== undefined && html`<dt>${label}</dt><dd class="quoted">${shownLines(text)}</dd>`,
  )}</dl>`
}

/** Who decides, and for whom. */
function voterOf({ person, standsFor }: ApprovalView): Person & Voter {
  return standsFor ? { ...person, standsFor } : person
}

function decision(view: ApprovalView): Html | null {
  const { approval, csrf, reason, nowMs, standsFor } = view
  const person = voterOf(view)
  if (approval.state !== 'pending' && approval.state !== 'approved') return null
  const moment = { openedAt: approval.createdAt, at: nowMs }
  const need = findAssuranceNeed(approval.requirements, person, moment)
  const entitling = approval.requirements.filter((requirement) => isEntitled(requirement, person, moment))
  const isNamed = entitling.length > 0
  const isOpen = entitling.some((requirement) => isOpenAt(requirement, nowMs))
  const bar = barOf(approval, person, { isNamed, isOpen })
  const isReasonNeeded = approval.requirements.some(({ isReasonRequired }) => isReasonRequired)
  const override = overrideSection(approval, view)
  const hasOverridden = approval.votes.some((one) => isOverride(one) && isSameParty(one.reviewer, person))
  const mayApprove = approval.state === 'pending' && bar === null
  if (!isNamed && !hasOverridden)
    return html`<h2>Decide</h2><p class="note">${bar ?? 'No rule of this call names you as a reviewer.'}</p>${override}`
  return html`<h2>Decide</h2>
${standsFor && html`<p class="note">You decide for <b title="${shown(formatParty(standsFor))}">${shown(standsFor.name ?? standsFor.subject)}</b>, who is away.</p>`}
${bar !== null && html`<p class="note">${bar}</p>`}
${mayApprove && need && html`<p class="note">An approval takes somebody ${describeAssurance(need)}. A denial does not.</p>`}
<form method="post" class="decide" id="decide">
<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="card_hash" value="${approval.cardHash}">
<label for="reason">Reason <small>${isReasonNeeded ? 'required' : 'for the agent to learn from'}</small></label>
<textarea id="reason" name="reason" rows="3" maxlength="2000"${isReasonNeeded && html` required`}>${reason}</textarea>
<div class="buttons">
${mayApprove && approveButton(view, need)}
<button class="deny" formaction="/approvals/${approval.id}/deny">${approval.state === 'approved' ? 'Take it back' : 'Deny'}</button>
</div>
</form>
${mayApprove && grantForm(approval, view)}
${mayApprove && approval.requirements.some(({ breaker }) => breaker === 'bars_grant') && html`<p class="note">You can approve this call only, and grant nothing: a circuit breaker held the agent when it asked.</p>`}
${override}`
}

/** A button, or the way to what it takes to press one. */
function approveButton({ approval: { id }, passkey = null }: ApprovalView, need: AssuranceNeed | null): Html | null {
  if (need === null) return html`<button class="approve" formaction="/approvals/${id}/approve">Approve</button>`
  if (need.kind === 'passkey') {
    if (passkey === 'nowhere')
      return html`<p class="note">Browsers make no passkeys for the address of this console.</p>`
    if (passkey === null || passkey === 'none') return html`<a class="button" href="/me">Add a passkey to approve</a>`
    return passkeyButton(passkey, { kind: 'get', label: 'Approve with a passkey', action: `/approvals/${id}/approve` })
  }
  const query = new URLSearchParams({ fresh: '1', return: `/approvals/${id}` })
  return html`<a class="button" href="/sign-in?${query.toString()}">Sign in again to approve</a>`
}

function votes({ votes: cast }: Approval): Html {
  if (cast.length === 0) return html`<p class="empty">None yet.</p>`
  return html`<ul class="plain">${cast.map(vote)}</ul>`
}

function vote({ reviewer, decision: cast, reason, via, at, standsFor }: Vote): Html {
  return html`<li><b title="${shown(`${reviewer.issuer}|${reviewer.subject}`)}">${shown(reviewer.name ?? reviewer.subject)}</b>
${cast === 'approve' ? 'approved' : 'denied'}${standsFor && html` for <b title="${shown(formatParty(standsFor))}">${shown(standsFor.name ?? standsFor.subject)}</b>`} ${moment(at)} ${throughWords(via)}${reason !== null && html`: <q>${shownLines(reason)}</q>`}</li>`
}

function recentCall(approval: Approval): Html {
  const { id, verb, resource, upstream, rules } = approval
  return html`<li><a href="/approvals/${id}">${shown(verb)} ${shown(resource)}</a> on ${shown(upstream)}
${stateSince(approval)} <small>${rules.map((rule) => shown(formatRule(rule))).join(', ')}</small></li>`
}
