import { z } from 'zod'
import type { Approval } from '../../domain/approval.ts'
import type { Absentee } from '../../domain/delegation.ts'
import { isEntitled, mayOverride, type Voter } from '../../domain/entitlement.ts'
import { formatParty, isInClosure, type Person } from '../../domain/principal.ts'
import { countReplies, MOST_QUESTION, MOST_QUESTIONS, type Question } from '../../domain/question.ts'
import type { ApprovalDesk } from '../desk.ts'
import { askingSchema } from '../question-wire.ts'
import { ASK_FAULT_DETAILS } from '../questions.ts'
import { idOf, reasonField } from './forms.ts'
import type { Caller } from './guard.ts'
import { type Html, html, shown, shownLines } from './html.ts'
import { type Answer, NOT_THERE, redirect, type Visit } from './respond.ts'
import { moment } from './words.ts'

/** The forms by which somebody says yes. Each says on how many replies. */
export const VOTE_FORMS = ['decide', 'grant', 'override'] as const

/** What such a form says: no number is none, since pages without questions have none. */
export const repliesField = { replies: z.coerce.number().int().min(0).max(MOST_QUESTIONS).default(0) }

const askForm = z.object({
  csrf: z.string(),
  question: reasonField,
})

/** Asking the agent whose call waits. `refuse` shows the approval again, with a sentence that says why. */
export function createQuestionPages({
  queue,
  refuse,
}: {
  readonly queue: ApprovalDesk
  refuse(
    id: string,
    caller: Caller,
    how: { fault: string; reason: string; status: number; question: string },
  ): Promise<Answer>
}) {
  return {
    'POST /approvals/:id/ask': async ({ request, caller }: Visit): Promise<Answer> => {
      const id = idOf(request)
      if (id === null) return NOT_THERE
      const { question } = askForm.parse(request.body)
      const again = { reason: '', question }
      const checked = askingSchema.safeParse({ question })
      if (!checked.success) {
        const fault = `Not asked. The question ${checked.error.issues[0]?.message ?? 'cannot be kept'}.`
        return refuse(id, caller, { ...again, fault, status: 422 })
      }
      const asked = await queue.ask({ approval: id, by: caller.person, text: question, via: 'console' })
      if (asked.asked) return redirect(`/approvals/${id}`)
      return refuse(id, caller, { ...again, fault: ASK_FAULT_DETAILS[asked.fault][1], status: 409 })
    },
  }
}

interface QuestionsView {
  readonly approval: Approval
  readonly questions?: readonly Question[]
  readonly person: Person
  readonly standsFor?: Absentee
  readonly csrf: string
  readonly nowMs: number
  /** What this person had written as a question. */
  readonly question?: string
}

/**
 * What the agent was asked, what it says to that, and the form to ask. How many replies there are goes with the votes, from
 * the very part of the page that shows them: nobody approves a call on a reply that they have not seen.
 */
export function questionsSections(view: QuestionsView): Html {
  const { questions = [], approval } = view
  const isOpen = questions.some(({ reply }) => reply === null)
  return html`<section data-live="questions" id="questions" aria-live="polite">${questions.length > 0 && asked(questions)}</section>
<section data-live="ask" id="ask" data-key="${approval.state} ${questions.length} ${isOpen ? 'open' : 'closed'}">${form(view, isOpen)}</section>`
}

function asked(questions: readonly Question[]): Html {
  const replies = countReplies(questions)
  return html`<div class="block claimed"><h2>What it was asked <small>its replies are its claims; nobody checked them</small></h2>
<ol class="plain">${questions.map(exchange)}</ol>
${VOTE_FORMS.map((id) => html`<input type="hidden" name="replies" value="${replies}" form="${id}">`)}</div>`
}

function exchange({ by, text, askedAt, reply }: Question): Html {
  return html`<li><p><b title="${shown(formatParty(by))}">${shown(by.name ?? by.subject)}</b> asked ${moment(askedAt)}: <q>${shownLines(text)}</q></p>
${
  reply
    ? html`<p>The agent replied ${moment(reply.at)}:</p><p class="quoted">${shownLines(reply.text)}</p>`
    : html`<p class="empty">The agent has not replied.</p>`
}</li>`
}

function form(
  { approval, questions = [], person, standsFor, csrf, nowMs, question = '' }: QuestionsView,
  isOpen: boolean,
): Html | null {
  const isLate = approval.state !== 'pending' || approval.expiresAt <= nowMs
  if (
    isLate ||
    isOpen ||
    questions.length >= MOST_QUESTIONS ||
    !mayAsk(approval, standsFor ? { ...person, standsFor } : person, nowMs)
  )
    return null
  return html`<details${question !== '' && html` open`}><summary>Ask the agent</summary>
<p>If it waits, it is told at once; it replies with its next attempt. The time to decide stays as it is.</p>
<form method="post" action="/approvals/${approval.id}/ask" class="decide">
<input type="hidden" name="csrf" value="${csrf}">
<label>Question <textarea name="question" rows="2" maxlength="${MOST_QUESTION}" required>${question}</textarea></label>
<div class="buttons"><button class="quiet">Ask</button></div>
</form></details>`
}

function mayAsk({ requirements, requester, createdAt }: Approval, person: Voter, nowMs: number): boolean {
  if (isInClosure(requester, person)) return false
  const at = { openedAt: createdAt, at: nowMs }
  return requirements.some((one) => isEntitled(one, person, at)) || mayOverride(requirements, person)
}
