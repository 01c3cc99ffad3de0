import { describeDecisions, describeSpan, type Precedents } from '../../domain/precedent.ts'
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
  if (precedents.lastApproved) rows.push(describe(precedents.lastApproved, 'approved', detail === 'full'))
  if (precedents.lastDenied) rows.push(describe(precedents.lastDenied, 'denied', detail === 'full'))
  return [lines(rows)]
}

function describe(
  { difference: { extent, changes, more } }: NonNullable<Precedents['lastApproved']>,
  word: string,
  withNames: boolean,
): Inline[] {
  const begin = plain(`Against the one ${word} last: `)
  const count = changes.length + more
  if (extent === 'none') return [begin, plain('the same to the last byte')]
  const beyond = extent === 'attempt' ? 'the same but for what every attempt makes anew' : 'another content'
  if (!withNames || count === 0) return [begin, plain(beyond)]
  const named = changes
    .slice(0, MOST_FIELDS)
    .flatMap(({ at }, index) => [plain(index === 0 ? ': ' : ', '), code(clean(at, 100))])
  return [begin, plain(beyond), ...named, ...(count > MOST_FIELDS ? [plain(` and ${count - MOST_FIELDS} more`)] : [])]
}
