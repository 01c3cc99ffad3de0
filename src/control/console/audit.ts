import type { LogEntry } from '../../audit/entries.ts'
import type { Found } from '../../audit/search.ts'
import type { ChainState } from '../../audit/state.ts'
import { KINDS, OUTCOMES } from '../../domain/entry.ts'
import { type AuditQuery, writeQuery } from './audit-query.ts'
import { type Html, html, shown } from './html.ts'

interface AuditView {
  readonly query: AuditQuery
  /** Why it was not looked for. */
  readonly fault: string | null
  readonly found: Found | null
  /** What reviewers were called when they voted, by the numbers of the entries. */
  readonly names: ReadonlyMap<number, string>
  readonly chain: ChainState
  readonly isFirstPage: boolean
}

/** The log, newest first: what is looked for, how the chain stands, and a page of entries. */
export function auditBody(view: AuditView): Html {
  const { query, fault, found, chain } = view
  return html`<h1>Audit log</h1>
${chainState(chain)}
<p><a href="/audit/report">Populations for a period, and what the words mean</a></p>
${form(query)}
${fault !== null && html`<p class="fault" role="alert">Not looked for: ${shown(fault)}.</p>`}
${found && results(found, view)}`
}

function chainState({ head, signed, verdict, findings, checkedFrom }: ChainState): Html {
  const isSound = verdict === 'intact' || (verdict === 'unanchored' && head.seq > 0)
  return html`<section id="chain"><h2>The chain</h2><dl class="facts">
<dt>Head</dt><dd>entry ${head.seq} <code>${head.hash.toString('hex')}</code></dd>
<dt>Signed last</dt><dd>${
    signed === null
      ? 'nothing that this gateway can check'
      : html`entry ${signed.seq}, ${exactTime(signed.atMs)} <code>${signed.hash.toString('hex')}</code>`
  }</dd>
<dt>Last entries</dt><dd>${
    checkedFrom === 0 ? 'none' : html`${checkedFrom} to ${head.seq}: <span class="state">${VERDICTS[verdict]}</span>`
  }</dd>
</dl>
${!isSound && checkedFrom > 0 && html`<div class="fault" role="alert">${findings.map(({ seq, what }) => html`<p>Entry ${seq}: ${shown(what)}</p>`)}</div>`}
<p class="note">Only the end is looked at here. <code>countersign audit verify</code> recomputes all of it.</p></section>`
}

const VERDICTS: Readonly<Record<ChainState['verdict'], string>> = {
  intact: 'intact',
  unanchored: 'agree with each other; no signed head is among them',
  altered: 'altered',
  gap: 'entries are missing',
  truncated: 'entries are missing at the end',
  forked: 'not those that were signed',
  violated: 'a promise was broken',
}

function form(query: AuditQuery): Html {
  return html`<form method="get" action="/audit" class="filter" role="search" aria-label="The audit log">
${timeField('from', 'From', query.from)}${timeField('until', 'Until', query.until)}
${textField('agent', PARTY_LABELS.agent, query.agent)}${textField('reviewer', PARTY_LABELS.reviewer, query.reviewer)}
${textField('upstream', 'Upstream', query.upstream)}${textField('verb', 'Verb', query.verb)}
${choice('effect', 'Effect', { value: query.effect, options: ['allow', 'hold', 'deny'] })}
${choice('kind', 'Kind', { value: query.kind, options: Object.keys(KINDS) })}
${choice('outcome', 'Outcome', { value: query.outcome, options: Object.keys(OUTCOMES) })}
${textField('call', 'Call', query.call)}${textField('approval', 'Approval', query.approval)}
<div class="buttons"><button>Find</button> <a class="button" href="/audit">Clear</a></div>
</form>`
}

export function timeField(name: string, label: string, value: string): Html {
  // The one form that browsers take: local, and with a time.
  const local = /^\d{4}-\d\d-\d\d$/.test(value) ? `${value}T00:00` : value.replace(/Z$/, '')
  return html`<label>${label} <small>UTC</small> <input type="datetime-local" step="1" name="${name}" value="${local}"></label>`
}

/** What such a field is compared with. */
export const PARTY_LABELS = {
  agent: html`Agent <small>subject, or issuer|subject</small>`,
  reviewer: html`Reviewer <small>subject, or issuer|subject</small>`,
}

export function textField(name: string, label: string | Html, value: string): Html {
  return html`<label>${label} <input name="${name}" maxlength="1000" autocomplete="off" value="${value}"></label>`
}

export function choice<Option extends string>(
  name: string,
  label: string,
  { value, options, words }: { value: string; options: readonly Option[]; words?: Readonly<Record<Option, string>> },
): Html {
  return html`<label>${label} <select name="${name}"><option value="">any</option>${options.map(
    (option) =>
      html`<option value="${option}"${option === value && html` selected`}>${words?.[option] ?? option}</option>`,
  )}</select></label>`
}

function results({ entries, next, isCut }: Found, { query, isFirstPage, names }: AuditView): Html {
  return html`<section id="entries"><h2>Entries</h2>
${entries.length === 0 ? html`<p class="empty">${isCut ? 'None as far as was looked.' : 'None.'}</p>` : table(entries, names)}
${isCut && html`<p class="note">Looked back as far as entry ${next}, and no further at once. A time leads there faster.</p>`}
<p class="pages">${!isFirstPage && html`<a href="/audit?${writeQuery(query)}">Newest</a> `}${
    next !== null &&
    html`<a href="/audit?${writeQuery(query, { before: String(next) })}">${isCut ? 'Look further back' : 'Older entries'}</a>`
  }</p>
<p>All that is looked for, oldest first: <a href="/audit/export?${writeQuery(query, { format: 'csv' })}">CSV</a>,
<a href="/audit/export?${writeQuery(query, { format: 'jsonl' })}">JSON lines</a></p></section>`
}

function table(entries: readonly LogEntry[], names: AuditView['names']): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Entries"><table class="log stack">
<thead><tr><th scope="col">Entry</th><th scope="col">Time</th><th scope="col">Kind</th><th scope="col">Agent</th><th scope="col">Call</th><th scope="col">Effect, outcome</th><th scope="col">Reviewer</th></tr></thead>
<tbody>${entries.map((entry) => row(entry, names.get(entry.seq) ?? null))}</tbody></table></div>`
}

function row(entry: LogEntry, name: string | null): Html {
  const { seq, at, kind, subject, issuer, upstream, verb, resource, effect, outcome, rule, reviewer } = entry
  return html`<tr><th scope="row"><a href="/audit/${seq}">${seq}</a></th><td data-label="Time">${exactTime(at)}</td><td data-label="Kind">${shown(kind)}</td>
<td data-label="Agent">${subject !== null && html`<span title="${shown(issuer ?? '')}">${shown(subject)}</span>`}</td>
<td data-label="Call">${[upstream, verb, resource].map((text) => text !== null && html`${shown(text)} `)}</td>
<td data-label="Effect, outcome">${[effect, outcome, rule].map((text) => text !== null && html`${shown(text)} `)}</td>
<td data-label="Reviewer">${name !== null && html`${shown(name)} `}${reviewer !== null && html`<small>${shown(reviewer)}</small>`}</td></tr>`
}

/** To the millisecond and in UTC, wherever it is read: as it was written. */
export function exactTime(ms: number): Html {
  const iso = new Date(ms).toISOString()
  return html`<time datetime="${iso}">${iso.replace('T', ' ').replace('Z', ' UTC')}</time>`
}
