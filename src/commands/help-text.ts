import type { ApprovalWire, ShownWire } from '../control/wire.ts'
import { describeDecisions, describeExtent, describeSpan, UNSEEN } from '../domain/precedent.ts'
import { field, partyText } from './text-lines.ts'

/*
 * What helps to decide, as text for a terminal: who else looks at an approval, and what was decided before. What an agent
 * wrote stands behind a label of ours.
 */

type Precedents = NonNullable<ShownWire['precedents']>
type Precedent = NonNullable<Precedents['last_approved']>
type Change = Precedent['difference']['changes'][number]

export function formatClaim({ claim }: ApprovalWire): readonly string[] {
  if (!claim) return []
  const { reviewer, via, until } = claim
  return field('looked at by', `${nameOf(reviewer)} (${partyText(reviewer)}) through ${via}, until ${until}`)
}

/** With an empty line behind it; nothing where a control listener of an earlier release tells nothing. */
export function formatPrecedents({ precedents }: ShownWire): readonly string[] {
  if (!precedents) return []
  const { within_s: withinS, approvers, partial, last_denied: denied, last_approved: approved } = precedents
  const decisions = describeDecisions(precedents)
  const who = approvers.map(({ reviewer, times }) => (times > 1 ? `${nameOf(reviewer)} (${times})` : nameOf(reviewer)))
  return [
    `Decided before: the same agent and action, in the last ${describeSpan(withinS * 1000)}`,
    ...(decisions.length === 0 ? ['  nothing'] : decisions.map((one) => `  ${one}`)),
    ...(partial ? ['  there were more; the newest are counted'] : []),
    ...(who.length > 0 ? field('approved by', who.join(', ')) : []),
    ...(denied ? formatPrecedent('denied last', denied) : []),
    ...(approved ? formatPrecedent('approved last', approved) : []),
    '',
  ]
}

function formatPrecedent(label: string, { approval, at, by, difference }: Precedent): readonly string[] {
  const { changes, more, unseen } = difference
  return [
    ...field(label, `${approval} at ${at}`),
    ...by.flatMap(({ reviewer, reason, via }) =>
      field('by', `${nameOf(reviewer)} through ${via}${reason === null ? '' : `: ${reason}`}`),
    ),
    `  ${describeExtent(difference)}`,
    ...changes.flatMap(formatChange),
    ...(more > 0 ? [`  … and ${more} more that are not listed`] : []),
    ...unseen.map((why) => `  ${UNSEEN[why]}`),
  ]
}

/** Each on a line of its own, behind a label of ours. */
function formatChange({ at, before, now }: Change): readonly string[] {
  return [...field('field', at), ...field('  was', textOf(before)), ...field('  is', textOf(now))]
}

function textOf(text: string | null): string {
  if (text === null) return '(not there)'
  return text === '' ? '(empty)' : text
}

function nameOf({ name, subject }: { readonly name: string | null; readonly subject: string }): string {
  return name ?? subject
}
