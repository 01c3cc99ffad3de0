import { type EntryInPlace, type LogEntry, parseBody } from '../../audit/entries.ts'
import { exactTime } from './audit.ts'
import { writeQuery } from './audit-query.ts'
import { type Html, html, shown, shownLines } from './html.ts'
import { columnsOf } from './log-columns.ts'

/** One entry whole, between its neighbours; with the name that its reviewer had then. */
export function auditEntryBody(found: EntryInPlace, reviewerName: string | null): Html {
  const { entry, before, after, isChained, meanings } = found
  return html`<p class="crumbs"><a href="/audit">Audit log</a></p>
<h1>Entry ${entry.seq} <small>${shown(entry.kind)}, ${exactTime(entry.at)}</small></h1>
${!isChained && html`<p class="fault" role="alert">Its hash does not follow from its body and the entry before.</p>`}
<nav aria-label="Neighbours"><ul class="plain neighbours">${neighbour('Before', before)}${neighbour('After', after)}</ul></nav>
<section><h2>Columns</h2><dl class="facts">${columnsOf(entry).map(
    ([name, value]) =>
      html`<dt>${name}</dt><dd>${value === null ? html`<span class="empty">–</span>` : shown(String(value))}</dd>`,
  )}</dl>
${reviewerName !== null && html`<p>The reviewer was called <b>${shown(reviewerName)}</b> then.</p>`}
${isChained && html`<p>Its hash follows from its body and the entry before.</p>`}
<p>${entry.callId !== null && html`<a href="/audit?${writeQuery({ call: entry.callId })}">All of this call</a> `}
${entry.approvalId !== null && html`<a href="/audit?${writeQuery({ approval: entry.approvalId })}">All of this approval</a>`}</p></section>
<section><h2>Body <small>what is chained, written over several lines</small></h2>
<pre tabindex="0" aria-label="The body">${shownLines(prettyBody(entry.body))}</pre></section>
<section><h2>Names and claims <small>what its commitments stand for; a name that was erased is missing</small></h2>
${
  meanings.length === 0
    ? html`<p class="empty">None.</p>`
    : html`<div class="scroll" tabindex="0" role="region" aria-label="Names and claims"><table>
<thead><tr><th scope="col">What</th><th scope="col">Value</th><th scope="col">Commitment</th></tr></thead>
<tbody>${meanings.map(
        ({ field, value, commitment }) =>
          html`<tr><th scope="row">${shown(field)}</th><td class="quoted">${shownLines(value)}</td><td><code>${shown(commitment)}</code></td></tr>`,
      )}</tbody></table></div>`
}</section>`
}

function neighbour(label: string, entry: LogEntry | null): Html {
  if (!entry) return html`<li>${label}: none</li>`
  const { seq, kind, verb, resource } = entry
  return html`<li>${label}: <a href="/audit/${seq}">entry ${seq}, ${shown(kind)}</a> ${[verb, resource].map((text) => text !== null && html`${shown(text)} `)}</li>`
}

/** Bytes that are no JSON are shown as they are: somebody has altered them. */
function prettyBody(body: Buffer): string {
  const parsed = parseBody(body)
  return parsed ? JSON.stringify(parsed, null, 2) : body.toString('utf8')
}
