import { showNeeds } from './card.ts'
import { showClaim } from './claim.ts'
import { clean, list } from './foreign.ts'
import { type CardView, type Rendered, whereToSee } from './parts.ts'
import { bold, code, type Inline, lines, MAX_MEASURE, measure, moment, plain, richText } from './rich-text.ts'

/** A reply in the thread of a card that waits: no buttons, they are on the card; nothing of what an agent wrote. */
export function renderReminder(view: CardView, now: number): Rendered {
  const { approval, card } = view
  const escalated = card.needed.flatMap(({ escalate }) => (escalate && escalate.at <= now ? escalate.to : []))
  const title = `${escalated.length > 0 ? 'Escalated, and still waiting' : 'Still waiting'}: approval ${approval.id}`
  const opened: Inline[][] =
    escalated.length > 0
      ? [[bold('Now also open to '), ...list([...new Set(escalated)], (name) => code(clean(name)))]]
      : []
  const whole = [richText(lines([[bold(title)], ...opened, ...showNeeds(view), whereToSee(view)]))]
  const short = [
    richText(
      lines([
        [bold(title)],
        ...showClaim(approval),
        [plain('Decide by '), moment(approval.expiresAt)],
        whereToSee(view),
      ]),
    ),
  ]
  return { blocks: measure(whole) <= MAX_MEASURE ? whole : short, text: title, isApprovable: false }
}
