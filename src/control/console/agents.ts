import { z } from 'zod'
import { NEVER_SEEN, type SeenAgent, type Suspension } from '../../domain/agent.ts'
import { formatParty, isSameParty, type Party, type Person } from '../../domain/principal.ts'
import { seesAllAgents } from '../../identity/kill-switch.ts'
import type { AgentDesk } from '../desk.ts'
import { CONTROL_CODES, explainSwitch } from '../problem.ts'
import { switchSchema } from '../wire.ts'
import { PAGES } from './access.ts'
import { reasonField } from './forms.ts'
import { type Caller, mayOpen } from './guard.ts'
import { type Html, html, shown, shownLines } from './html.ts'
import { type Answer, page, redirect, type Visit } from './respond.ts'
import { moment } from './words.ts'

const switchForm = z.object({
  csrf: z.string(),
  issuer: z.string().default(''),
  subject: z.string().default(''),
  reason: reasonField,
})

const linkQuery = z.object({ issuer: z.string().max(1000), subject: z.string().max(1000) })

const NOTHING_GIVEN = { issuer: '', subject: '', reason: '' }

/** Who calls, and the switch that stops them. */
export function createAgentPages({ agents }: { readonly agents: AgentDesk }) {
  async function show(
    { person, csrf }: Caller,
    { fault, given = NOTHING_GIVEN, status }: { fault: string | null; given?: AgentsView['given']; status: number },
  ): Promise<Answer> {
    return page('Agents', agentsBody({ agents: await agents.list(person), person, csrf, fault, given }), status)
  }

  /** Everybody may stop an agent, and not everybody finds it on the page of agents afterwards. */
  async function stopped({ person }: Caller, agent: SeenAgent): Promise<Answer> {
    const listed = await agents.list(person)
    return listed.some((one) => isSameParty(one, agent)) ? redirect('/agents') : page('Stopped', stoppedBody(agent))
  }

  function turn(way: 'suspend' | 'resume') {
    return async ({ request, caller }: Visit): Promise<Answer> => {
      const { csrf: _checked, ...given } = switchForm.parse(request.body)
      const asked = switchSchema.safeParse(given)
      if (!asked.success) {
        const [issue] = asked.error.issues
        const fault = `Not done. The ${issue?.path.join('.') ?? 'form'} ${issue?.message ?? 'cannot be kept'}.`
        return show(caller, { fault, given, status: 422 })
      }
      const { reason, ...agent } = asked.data
      const result = await agents[way]({ agent, by: caller.person, reason, via: 'console' })
      if (result.done) return way === 'suspend' ? stopped(caller, result.agent) : redirect('/agents')
      const [code, fault] = explainSwitch(result)
      return show(caller, { fault, ...(code === 'unknown_issuer' && { given }), status: CONTROL_CODES[code][0] })
    }
  }

  return {
    async 'GET /agents'({ request, caller }: Visit): Promise<Answer> {
      // A link may fill the form in; nobody is stopped before it is sent.
      const link = linkQuery.safeParse(request.query)
      const given = link.success ? { ...NOTHING_GIVEN, ...link.data } : NOTHING_GIVEN
      return show(caller, { fault: null, given, status: 200 })
    },
    'POST /agents/suspend': turn('suspend'),
    'POST /agents/resume': turn('resume'),
  }
}

interface AgentsView {
  readonly agents: readonly SeenAgent[]
  readonly person: Person
  readonly csrf: string
  /** Why what was just sent was not done, and what it said. */
  readonly fault: string | null
  readonly given: { readonly issuer: string; readonly subject: string; readonly reason: string }
}

/** From wherever an agent is shown to the form that stops it; null for whom it is not. */
export function stopLink({ issuer, subject }: Party, person: Person): Html | null {
  if (!mayOpen(PAGES['POST /agents/suspend'], person)) return null
  return html`<p><a href="/agents?${new URLSearchParams({ issuer, subject }).toString()}#stop">Stop this agent</a></p>`
}

function agentsBody(view: AgentsView): Html {
  const { agents, fault, person } = view
  const [count, none] = seesAllAgents(person) ? [counted, 'None.'] : [() => null, 'None that you may see.']
  const stopped = agents.filter(({ suspension }) => suspension !== null)
  const held = agents.filter(({ suspension, heldBy }) => suspension === null && heldBy.length > 0)
  return html`<h1>Agents</h1>
${fault !== null && html`<p class="fault" role="alert">${fault}</p>`}
<section><h2>Stopped ${count(stopped)}</h2>
${stopped.length === 0 ? html`<p class="empty">${none}</p>` : stopped.map((agent) => stoppedAgent(agent, view))}</section>
${
  held.length > 0 &&
  html`<section><h2>Held by circuit breakers ${count(held)}</h2>
${held.map((agent) => heldAgent(agent, view))}</section>`
}
<section><h2>Seen <small>the last 24 hours, by whole hours</small></h2>
${agents.length === 0 ? html`<p class="empty">None that you may see has called.</p>` : table(agents)}</section>
${mayOpen(PAGES['POST /agents/suspend'], view.person) && suspendForm(view)}`
}

function counted({ length }: readonly SeenAgent[]): Html {
  return html`<span class="count">${length}</span>`
}

function neverSeen(seenAt: number | null): Html | false {
  return seenAt === null && html`<p class="note">${NEVER_SEEN}</p>`
}

function stoppedBody({ issuer, subject, seenAt }: SeenAgent): Html {
  return html`<h1>Agents</h1>
<p class="note" role="status"><b>${shown(subject)} is stopped</b> <small>${shown(issuer)}</small></p>
${neverSeen(seenAt)}
<p>On every replica, within a second. What it was waiting for is withdrawn. An operator or an admin can let it go on; you do not see it among the agents, since it is not one of yours.</p>
<p><a class="button" href="/">To the inbox</a></p>`
}

/** They need not have voted to know their own name. */
function nameOf(by: Suspension['by'], person: Person): string | null {
  return by.name ?? (isSameParty(by, person) ? person.name : null)
}

function stoppedAgent({ suspension, ...agent }: SeenAgent, view: AgentsView): Html | null {
  if (!suspension) return null
  const { since, by, reason, breaker } = suspension
  const who =
    breaker === null
      ? html`by <span title="${shown(formatParty(by))}">${shown(nameOf(by, view.person) ?? by.subject)}</span>`
      : html`tripped by the circuit breaker <code>${shown(breaker)}</code>`
  return html`<div class="block"><p><b>${shown(agent.subject)}</b> <small>${shown(agent.issuer)}</small></p>
<p>Since ${moment(since)}, ${who}${reason !== null && html`: <q>${shownLines(reason)}</q>`}</p>
${neverSeen(agent.seenAt)}
${resumeForm(agent, view)}</div>`
}

/** Each of its calls waits for people. */
function heldAgent({ heldBy, ...agent }: SeenAgent, view: AgentsView): Html {
  return html`<div class="block"><p><b>${shown(agent.subject)}</b> <small>${shown(agent.issuer)}</small></p>
${heldBy.map(
  ({ breaker, since, reason }) =>
    html`<p>Since ${moment(since)}, tripped by the circuit breaker <code>${shown(breaker)}</code>: <q>${shown(reason)}</q></p>`,
)}
${resumeForm(agent, view)}</div>`
}

function resumeForm(agent: { readonly issuer: string; readonly subject: string }, { person, csrf }: AgentsView) {
  return (
    mayOpen(PAGES['POST /agents/resume'], person) &&
    html`<form method="post" action="/agents/resume" class="decide">
${hidden(csrf, agent)}
<label>Why it may go on <textarea name="reason" rows="2" maxlength="2000" required></textarea></label>
<div class="buttons"><button class="approve">Resume ${shown(agent.subject)}</button></div>
</form>`
  )
}

function hidden(csrf: string, { issuer, subject }: { readonly issuer: string; readonly subject: string }): Html {
  return html`<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="issuer" value="${issuer}">
<input type="hidden" name="subject" value="${subject}">`
}

function table(agents: readonly SeenAgent[]): Html {
  return html`<div class="scroll" tabindex="0" role="region" aria-label="Agents"><table class="stack">
<thead><tr><th scope="col">Agent</th><th scope="col">State</th><th scope="col">Last seen</th><th scope="col">Calls</th><th scope="col">Held</th><th scope="col">Denied</th></tr></thead>
<tbody>${agents.map(row)}</tbody></table></div>`
}

function row({ issuer, subject, seenAt, calls, holds, denials, suspension, heldBy }: SeenAgent): Html {
  const state = suspension ? 'Stopped' : heldBy.length > 0 ? 'Held' : null
  return html`<tr><th scope="row">${shown(subject)} <small>${shown(issuer)}</small></th>
<td data-label="State">${state ? html`<span class="state">${state}</span>` : 'Runs'}</td>
<td data-label="Last seen">${seenAt === null ? 'not seen' : moment(seenAt)}</td>
<td data-label="Calls">${calls}</td><td data-label="Held">${holds}</td><td data-label="Denied">${denials}</td></tr>`
}

function suspendForm({ csrf, given, agents }: AgentsView): Html {
  const issuers = [...new Set(agents.map(({ issuer }) => issuer))]
  return html`<section id="stop"><h2>Stop an agent</h2>
<p>At once, everywhere: new calls are refused, held ones withdrawn, streams cut. The subject of a person stops every agent that acts for them. The audit log says who did it, and why.</p>
<form method="post" action="/agents/suspend" class="decide">
<input type="hidden" name="csrf" value="${csrf}">
<label>Issuer <input name="issuer" list="issuers" maxlength="1000" required value="${given.issuer}"></label>
<datalist id="issuers">${issuers.map((issuer) => html`<option value="${issuer}"></option>`)}</datalist>
<label>Subject <input name="subject" list="subjects" maxlength="1000" required value="${given.subject}"></label>
<datalist id="subjects">${agents.map(({ subject }) => html`<option value="${subject}"></option>`)}</datalist>
${shown(given.subject) !== given.subject && html`<p class="note">The subject has characters that a field does not show: <code>${shown(given.subject)}</code></p>`}
<label>Reason <textarea name="reason" rows="3" maxlength="2000" required>${given.reason}</textarea></label>
<div class="buttons"><button class="deny">Stop it</button></div>
</form></section>`
}
