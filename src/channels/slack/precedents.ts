import { describeDecisions, describeSpan, type Precedent } from '../../domain/precedent.ts'
import { clean } from './foreign.ts'
import type { CardView } from './parts.ts'
import { bold, code, type Inline, lines, plain, type richText } from './rich-text.ts'

type Elements = Parameters<typeof richText>

const MOST_FIELDS = 3

/**
 * What people decided on the same call before. Of what differs only the names are told, and only where payloads go to
 * Slack at all: what an earlier call held has left it.
 */
export function showPrecedents({ precedents, detail }: CardView): Elements {
  if (!precedents) return []
  const decisions = describeDecisions(precedents)
  const said = decisions.length === 0 ? 'never' : decisions.join('; ')
  const span = ` (the last ${describeSpan(precedents.withinMs)})`
  const people = precedents.approvers.map(({ reviewer }) => clean(reviewer.name ?? reviewer.subject, 100))
  const rows: Inline[][] = [
    [
      bold('Decided before'),
      plain(`${span}: ${said}`),
      ...(people.length > 0 ? [plain(`; by ${people.join(', ')}`)] : []),
    ],
  ]
  const { lastApproved, lastDenied } = precedents
  if (lastApproved) rows.push([plain('Against the one approved last: '), ...describe(lastApproved, detail === 'full')])
  if (lastDenied) rows.push([...byWhom(lastDenied), ...describe(lastDenied, detail === 'full')])
  return [lines(rows)]
}

/** Why somebody said no before is the most that there is to know: it was on the card then, in the same place. */
function byWhom({ by }: Precedent): Inline[] {
  const [one] = by
  if (!one) return []
  const { reviewer, reason } = one
  const why = reason === null ? [] : [plain(', because '), code(clean(reason))]
  return [plain(`Denied last by ${clean(reviewer.name ?? reviewer.subject, 100)}`), ...why, plain('; against it: ')]
}

function describe({ difference: { extent, changes, more } }: Precedent, withNames: boolean): Inline[] {
  const count = changes.length + more
  if (extent === 'none') return [plain('the same to the last byte')]
  const beyond = plain(extent === 'attempt' ? 'the same but for what every attempt makes anew' : 'another content')
  if (!withNames || count === 0) return [beyond]
  const named = changes
    .slice(0, MOST_FIELDS)
    .flatMap(({ at }, index) => [plain(index === 0 ? ': ' : ', '), code(clean(at, 100))])
  return [beyond, ...named, ...(count > MOST_FIELDS ? [plain(` and ${count - MOST_FIELDS} more`)] : [])]
}
