import {
  type Change,
  describeDecisions,
  describeExtent,
  describeSpan,
  type Precedent,
  type Precedents,
  UNSEEN,
} from '../../domain/precedent.ts'
import { formatParty } from '../../domain/principal.ts'
import { type Html, html, shown, shownLines } from './html.ts'
import { moment, throughWords } from './words.ts'

/** What was decided on the same call before, and what differs here: found by the gateway, never said by the agent. */
export function precedentsSection(precedents: Precedents): Html {
  const { lastApproved, lastDenied } = precedents
  const decisions = describeDecisions(precedents)
  const span = describeSpan(precedents.withinMs)
  return html`<section class="block derived"><h2>Decided before <small>found by the gateway in its own records</small></h2>
<p>The same agent, the same action on the same upstream, in the last ${span}. The content may differ.</p>
${decisions.length === 0 ? html`<p class="empty">Nothing was decided on such a call.</p>` : html`<p><b>${sentence(decisions)}</b></p>`}
${precedents.isPartial && html`<p class="note">There were more; the newest are counted.</p>`}
${precedents.approvers.length > 0 && html`<p>Approved by ${precedents.approvers.map(approver)}</p>`}
${lastDenied && precedent(lastDenied, 'Denied last')}
${lastApproved && precedent(lastApproved, 'Approved last')}
</section>`
}

function sentence(parts: readonly string[]): string {
  const text = parts.join('; ')
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`
}

function approver({ reviewer, times }: Precedents['approvers'][number], index: number): Html {
  return html`${index > 0 && ', '}${name(reviewer)}${times > 1 && ` (${times} times)`}`
}

function name(reviewer: Precedents['approvers'][number]['reviewer']): Html {
  return html`<span title="${shown(formatParty(reviewer))}">${shown(reviewer.name ?? reviewer.subject)}</span>`
}

function precedent({ approval, at, by, difference }: Precedent, label: string): Html {
  const { changes, more, unseen } = difference
  return html`<h3>${label} <small>${moment(at)}, <a href="/approvals/${approval}">${approval}</a></small></h3>
<ul class="plain">${by.map(
    ({ reviewer, reason, via }) =>
      html`<li>${name(reviewer)} ${shown(throughWords(via))}${reason !== null && html`, because <q>${shownLines(reason)}</q>`}</li>`,
  )}</ul>
<p>${describeExtent(difference)}</p>
${changes.length > 0 && html`<dl class="facts changes">${changes.map(change)}</dl>`}
${more > 0 && html`<p class="note">… and ${more} more that are not listed: compare the calls themselves.</p>`}
${unseen.map((why) => html`<p><small>${UNSEEN[why]}</small></p>`)}`
}

function change({ at, before, now }: Change): Html {
  return html`<dt><code>${shown(at)}</code></dt><dd>${value(before)} → <b>${value(now)}</b></dd>`
}

function value(text: string | null): Html {
  if (text === null) return html`<i>not there</i>`
  return text === '' ? html`<i>empty</i>` : html`<code>${shownLines(text)}</code>`
}
