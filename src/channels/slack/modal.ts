import type { types } from '@slack/bolt'
import { label } from './parts.ts'
import type { Asked } from './payload.ts'

/** What Slack is told in the answer to a modal that was submitted; null closes it. */
export type ModalAnswer =
  | { readonly response_action: 'update'; readonly view: types.View }
  | { readonly response_action: 'errors'; readonly errors: Record<string, string> }
  | null

const MAX_REASON = 1000

/** Asks for the reason of a decision. `isRequired`: it cannot be left empty. */
export function renderQuestion(asked: Asked, approval: string, isRequired: boolean): types.View {
  const verb = asked.decision === 'approve' ? 'Approve' : 'Deny'
  return {
    type: 'modal',
    callback_id: 'countersign.reason',
    private_metadata: JSON.stringify(asked),
    title: label(`${verb} a call`),
    submit: label(verb),
    close: label('Cancel'),
    blocks: [
      {
        type: 'input',
        block_id: 'reason',
        optional: !isRequired,
        label: label(`Reason (approval ${approval})`),
        hint: label('It is recorded. The reason of a denial is also told to the agent.'),
        element: {
          type: 'plain_text_input',
          action_id: 'reason',
          multiline: true,
          max_length: MAX_REASON,
          ...(isRequired ? { min_length: 1 } : {}),
        },
      },
    ],
  }
}

/** Takes the place of the question, to tell that one person why it was not counted. */
export function renderAnswer(text: string): types.View {
  return {
    type: 'modal',
    title: label('Not counted'),
    close: label('Close'),
    blocks: [{ type: 'section', text: label(text) }],
  }
}
