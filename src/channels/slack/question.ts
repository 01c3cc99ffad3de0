import type { types } from '@slack/bolt'
import { MOST_QUESTION, type Question } from '../../domain/question.ts'
import { fitInto } from '../../domain/visible.ts'
import { clean } from './foreign.ts'
import { type CardView, label, type Rendered, whereToSee } from './parts.ts'
import type { AskedWhere } from './payload.ts'
import { bold, code, lines, MAX_MEASURE, measure, moment, plain, preformatted, richText } from './rich-text.ts'

type Elements = Parameters<typeof richText>

/**
 * What the agent was asked, and what it says to that; empty if nothing was asked. The words of the agent are claims: they go
 * to Slack only where the configuration lets its other claims go.
 */
export function showQuestions({ questions = [], detail }: CardView, maxLength: number): Elements {
  if (questions.length === 0) return []
  return [
    lines([[bold('Asked of the agent'), plain(' (its replies are its claims; not checked, not forwarded)')]]),
    ...questions.flatMap((question) => exchange(question, { detail, maxLength })),
  ]
}

function exchange(
  { by, text, reply }: Question,
  { detail, maxLength }: Pick<CardView, 'detail'> & { readonly maxLength: number },
): Elements {
  const asked = lines([[plain(`${clean(by.name ?? by.subject, 100)} asked: `), code(clean(text, maxLength))]])
  if (!reply) return [asked, lines([[plain('The agent has not replied.')]])]
  if (detail !== 'full')
    return [asked, lines([[plain('The agent replied; the configuration keeps that out of Slack.')]])]
  const fitting = fitInto(reply.text, maxLength, { isMultiline: true })
  return [
    asked,
    lines([[plain('The agent replied:')]]),
    preformatted(fitting.isCut ? `${fitting.text}\n… (cut)` : fitting.text),
  ]
}

/** A message in the thread of the card, about what was asked or replied last. No buttons: they are on the card. */
export function renderNews(view: CardView): Rendered {
  const { approval, questions = [] } = view
  const last = questions.at(-1)
  const title = `${last?.reply ? 'The agent replied' : 'The agent was asked'}: approval ${approval.id}`
  const terms = [[bold('Decide by '), moment(approval.expiresAt)], whereToSee(view)]
  const words = last ? showQuestions({ ...view, questions: [last] }, MOST_QUESTION) : []
  const whole = [richText(lines([[bold(title)]]), ...words, lines(terms))]
  const short = [richText(lines([[bold(title)], ...terms]))]
  return { blocks: measure(whole) <= MAX_MEASURE ? whole : short, text: title, isApprovable: false }
}

/** Asks for the question itself. */
export function renderAsk(where: AskedWhere, approval: string): types.View {
  return {
    type: 'modal',
    callback_id: 'countersign.question',
    private_metadata: JSON.stringify(where),
    title: label('Ask the agent'),
    submit: label('Ask'),
    close: label('Cancel'),
    blocks: [
      {
        type: 'input',
        block_id: 'question',
        label: label(`Question (approval ${approval})`),
        hint: label('The agent replies with its next attempt. The time to decide stays as it is.'),
        element: {
          type: 'plain_text_input',
          action_id: 'question',
          multiline: true,
          min_length: 1,
          max_length: MOST_QUESTION,
        },
      },
    ],
  }
}
