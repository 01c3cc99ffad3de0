import { formatRule } from '../../domain/verdict.ts'
import { describeBasis, type Explanation, type RuleFinding } from '../../policy/explain.ts'
import type { PoliciesInForce, WrittenBreaker, WrittenRule } from '../../policy/in-force.ts'
import { byLabel, type DescribedCall } from './described-call.ts'
import { type Html, html, shown, shownLines } from './html.ts'
import { moment } from './words.ts'

interface PolicyView {
  readonly inForce: PoliciesInForce | null
  /** Why there is none. */
  readonly whyNone: string | null
  readonly upstreams: readonly string[]
  readonly csrf: string
  /** The policy whose rules are shown where there are too many for one page. */
  readonly chosen: string | null
  readonly described: DescribedCall
  /** Null before anything was asked. */
  readonly answer: Explanation | { readonly faults: readonly string[] } | null
}

/** More of them are shown one policy at a time. */
const MOST_RULES = 300
/** Rules of an explanation that are about something else are listed below the others. */
const ABOUT_ELSE: ReadonlySet<string> = new Set(['other_upstream', 'other_verb', 'other_resource', 'other_principal'])

/** The rules that decide, and a form that asks them about a call. */
export function policyBody(view: PolicyView): Html {
  const { inForce, whyNone } = view
  return html`<h1>Policy</h1>
${inForce ? origin(inForce) : html`<p class="fault" role="alert">No policy decides, and no call is let through: ${shown(whyNone ?? 'none was published')}.</p>`}
<section id="explain"><h2>What would happen to a call?</h2>
${view.answer && answer(view.answer)}
${form(view)}</section>
${inForce && rules(inForce, view.chosen)}`
}

function origin({ version, hash, publishedAt, publishedBy }: PoliciesInForce): Html {
  return html`<dl class="facts">
<dt>Version</dt><dd>${version}</dd>
<dt>Published</dt><dd>${moment(publishedAt)} by ${shown(publishedBy)}</dd>
<dt>Hash</dt><dd><code class="digest">${hash}</code></dd>
</dl>`
}

function form({ described, upstreams, csrf }: PolicyView): Html {
  return html`<form method="post" action="/policy/explain" class="decide">
<input type="hidden" name="csrf" value="${csrf}">
<label>Who calls <small>issuer|subject</small> <input name="principal" maxlength="1000" required value="${described.principal}"></label>
<label>Groups <small>issuer/group, one a line</small> <textarea name="groups" rows="2" maxlength="4000">${described.groups}</textarea></label>
<label>On behalf of <small>issuer|subject, or nobody</small> <input name="on_behalf_of" maxlength="1000" value="${described.on_behalf_of}"></label>
<label>Owner <small>issuer|subject, or nobody</small> <input name="owner" maxlength="1000" value="${described.owner}"></label>
<label>Upstream <select name="upstream">${upstreams.map(
    (name) => html`<option${name === described.upstream && html` selected`}>${name}</option>`,
  )}</select></label>
<label>Verb <input name="verb" maxlength="100" required value="${described.verb}"></label>
<label>Resource <input name="resource" maxlength="2000" required value="${described.resource}"></label>
<label>Facts <small>JSON: what conditions read, as {"body": {"amount": 500}}</small> <textarea name="facts" rows="4" maxlength="8000" spellcheck="false">${described.facts}</textarea></label>
<div class="buttons"><button>Explain</button></div>
</form>`
}

function answer(given: NonNullable<PolicyView['answer']>): Html {
  if ('faults' in given)
    return html`<p class="fault" role="alert">${given.faults.map((fault) => shown(byLabel(fault))).join('; ')}</p>`
  const { verdict, actions } = given
  const [action] = actions
  return html`<div class="block derived" role="status">
<p><b>${EFFECTS[verdict.effect]}</b>${
    verdict.effect === 'unsure'
      ? html`: what decides reads ${[...verdict.needs].map(shown).join(', ')}, which is not among the facts.`
      : html`: ${shown(describeBasis(verdict))}.`
  }</p>
${verdict.effect !== 'unsure' && verdict.message !== null && html`<p>The agent is told: <q>${shown(verdict.message)}</q></p>`}
${action && findings(action.rules)}</div>`
}

const EFFECTS = {
  allow: 'Allowed',
  hold: 'Held until people decide',
  deny: 'Denied',
  unsure: 'Cannot be told yet',
} as const

function findings(all: readonly RuleFinding[]): Html {
  const [concerned, elsewhere] = [false, true].map((isElse) =>
    all.filter(({ result }) => ABOUT_ELSE.has(result) === isElse),
  )
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Rules"><table class="stack findings">
<thead><tr><th scope="col">Rule</th><th scope="col">Says</th><th scope="col">Why</th></tr></thead>
<tbody>${(concerned ?? []).map(finding)}</tbody></table></div>
${others(elsewhere ?? [])}`
}

function others(elsewhere: readonly RuleFinding[]): Html {
  const are = elsewhere.length === 1 ? '1 more rule is' : `${elsewhere.length} more rules are`
  const told = html`${are} about other principals, upstreams, verbs or resources`
  if (elsewhere.length === 0 || elsewhere.length > MOST_RULES) return html`<p class="note">${told}.</p>`
  return html`<details><summary>${told}</summary><ul class="plain">${elsewhere.map(
    ({ rule, result }) => html`<li><code>${shown(formatRule(rule))}</code> ${WHY[result] ?? result}</li>`,
  )}</ul></details>`
}

function finding({ rule, effect, result, detail, isDeciding }: RuleFinding): Html {
  const says = result === 'matches' ? effect : result === 'condition_failed' ? 'deny' : 'nothing'
  return html`<tr><th scope="row"><code>${shown(formatRule(rule))}</code></th>
<td data-label="Says">${says}${isDeciding && html` <span class="state">decides</span>`}</td>
<td data-label="Why">${WHY[result] ?? result}${detail !== null && html` <code>${shownLines(detail)}</code>`}</td></tr>`
}

const WHY: Readonly<Partial<Record<RuleFinding['result'], string>>> = {
  matches: 'It matches.',
  condition_false: 'Its condition is false.',
  condition_failed: 'Its condition cannot be evaluated, which is a deny.',
  unsure: 'It cannot be told yet.',
  other_principal: 'It is about another principal.',
  other_resource: 'It is about another resource.',
  other_verb: 'It is about another verb.',
  other_upstream: 'It is about another upstream.',
}

function rules({ policies }: PoliciesInForce, chosen: string | null): Html {
  const count = policies.reduce((sum, policy) => sum + policy.rules.length, 0)
  const opened = count <= MOST_RULES ? policies : policies.filter(({ name }) => name === chosen)
  return html`<section><h2>Rules <span class="count">${count}</span> <small>deny beats hold beats allow; what nothing matches is denied</small></h2>
${
  count > MOST_RULES &&
  html`<ul class="plain">${policies.map(
    ({ name, rules: own }) =>
      html`<li><a href="/policy?${new URLSearchParams({ policy: name }).toString()}">${shown(name)}</a> ${own.length} rules</li>`,
  )}</ul>`
}
${opened.map(({ name, rules: own }) => html`<h3>${shown(name)}</h3>${own.map((rule) => written(name, rule))}`)}</section>
${breakers(policies)}`
}

function breakers(policies: PoliciesInForce['policies']): Html | null {
  const all = policies.flatMap(({ name, breakers: own }) => own.map((breaker) => written(name, breaker)))
  return all.length === 0
    ? null
    : html`<section><h2>Circuit breakers <span class="count">${all.length}</span></h2>${all}</section>`
}

function written(policy: string, { name, effect, text }: WrittenRule | WrittenBreaker): Html {
  return html`<details class="rule"><summary><code>${shown(`${policy}/${name}`)}</code> <span class="state">${effect}</span></summary>
<pre tabindex="0" aria-label="${shown(`${policy}/${name}`)}">${shownLines(text)}</pre></details>`
}
