import { POPULATIONS } from '../../audit/populations.ts'
import { KINDS, OUTCOMES } from '../../domain/entry.ts'
import { timeField } from './audit.ts'
import { writeQuery } from './audit-query.ts'
import { type Html, html, shown } from './html.ts'

interface ReportView {
  readonly from: string
  readonly until: string
  readonly fault: string | null
}

/** What an auditor draws samples from, for a period, without SQL; and what the words in it mean. */
export function reportBody({ from, until, fault }: ReportView): Html {
  return html`<p class="crumbs"><a href="/audit">Audit log</a></p>
<h1>For auditors</h1>
${fault !== null && html`<p class="fault" role="alert">${shown(fault)}.</p>`}
<form method="get" action="/audit/report" class="filter">
${timeField('from', 'From', from)}${timeField('until', 'Until', until)}
<div class="buttons"><button>Set the period</button></div></form>
<section><h2>Populations <small>${from === '' ? 'from the beginning' : `from ${shown(from)}`} ${until === '' ? 'to the end' : `until ${shown(until)}`}, UTC</small></h2>
<dl>${Object.entries(POPULATIONS).map(
    ([name, { title, about }]) =>
      html`<dt><a href="/audit/report/${name}?${writeQuery({ from, until })}">${title} (CSV)</a></dt><dd>${about}</dd>`,
  )}</dl>
<p class="note">A person is named twice: by issuer and subject, which never change and often say nothing to a reader, and by the name that the identity provider gave when they voted. A name that was erased is empty, and its row stays.</p></section>
${glossary('Kinds of entries', KINDS)}
${glossary('Outcomes of calls', OUTCOMES)}
${glossary('Effects', EFFECTS)}
${glossary('Other words', WORDS)}`
}

function glossary(title: string, words: Readonly<Record<string, string>>): Html {
  return html`<section><h2>${title}</h2><dl class="facts">${Object.entries(words).map(
    ([word, meaning]) => html`<dt><code>${word}</code></dt><dd>${meaning}</dd>`,
  )}</dl></section>`
}

const EFFECTS = {
  allow: 'the call goes on',
  hold: 'the call waits until people decide',
  deny: 'the call is refused',
} as const

const WORDS = {
  call: 'one thing that an agent sent',
  approval: 'the record of a held call; it is used up by one call, and only by the one that was approved',
  reviewer: 'a person who may vote; never an agent',
  owner: 'who answers for the agent',
  on_behalf_of: 'the person for whom the agent acts',
  rule: 'the policy and the rule that decided',
  assurance: 'how a reviewer was known when they voted',
  spent: 'the approval was used up, just before its call was forwarded',
} as const
