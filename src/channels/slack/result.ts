import type { types } from '@slack/bolt'
import { type CardView, fallback, head, type Rendered, showVotes, whereToSee } from './parts.ts'
import { bold, type Inline, lines, MAX_MEASURE, measure, moment, plain, richText } from './rich-text.ts'
import { showDerived, showVerified } from './sections.ts'
import { explain } from './wording.ts'

/** A card that is decided or over: who, when and why, and no buttons. The payload and the claims do not stay in Slack. */
export function renderResult(view: CardView): Rendered {
  const { approval, card, detail } = view
  const outcome: Inline[][] = [[plain(explain(approval))], ...showVotes(view)]
  if (approval.decidedAt !== null) outcome.push([bold('Decided '), moment(approval.decidedAt)])
  else if (approval.state === 'expired') outcome.push([bold('Expired '), moment(approval.expiresAt)])

  const short: types.KnownBlock[] = [...head(view), richText(lines(outcome))]
  const where = richText(lines([whereToSee(view)]))
  if (detail === 'link') return { blocks: [...short, where], text: fallback(view), isApprovable: false }

  const blocks: types.KnownBlock[] = [
    ...short,
    { type: 'divider' },
    richText(...showVerified(card, [])),
    { type: 'divider' },
    richText(...showDerived({ ...view, detail: 'summary' }, [], 0)),
    where,
  ]
  // Ten long reasons alone can fill a message; then the outcome matters more than what it was about.
  const forms = [blocks, [...short, where]]
  const fitting = forms.find((form) => measure(form) <= MAX_MEASURE) ?? [...head(view), where]
  return { blocks: fitting, text: fallback(view), isApprovable: false }
}
