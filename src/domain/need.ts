import type { Need } from './card.ts'
import { counted } from './counted.ts'
import type { AssuranceNeed } from './verdict.ts'

/**
 * What one requirement asks for besides its reviewers and their number, as parts of a sentence: the same words on every
 * screen.
 */
export function describeTerms(need: Omit<Need, 'reviewers' | 'quorum'>): readonly string[] {
  const { exclude, isReasonRequired, denyQuorum, hours, escalate, assurance, override } = need
  return [
    ...(exclude ? [`not ${exclude.join(', ')}`] : []),
    ...(isReasonRequired ? ['with a reason'] : []),
    ...(assurance ? [describeAssurance(assurance)] : []),
    ...(denyQuorum ? [`${denyQuorum} denials deny it`] : []),
    ...(hours ? [`approvals count ${hours}`] : []),
    ...(override ? [`${override.join(', ')} may override`] : []),
    ...(escalate ? [`from ${formatMoment(escalate.at)} also ${escalate.to.join(', ')}`] : []),
  ]
}

/** How somebody has to be authenticated to approve, as part of a sentence. */
export function describeAssurance(need: AssuranceNeed): string {
  if (need.kind === 'passkey') return 'with a passkey'
  const { maxAgeMs } = need
  const isMinutes = maxAgeMs % 60_000 === 0
  const age = isMinutes ? counted(maxAgeMs / 60_000, 'minute') : counted(maxAgeMs / 1000, 'second')
  return `with a sign-in of the last ${age}`
}

/** To the second where that matters, in UTC: who reads it may be anywhere. */
function formatMoment(ms: number): string {
  const iso = new Date(ms).toISOString()
  return `${iso.slice(0, 10)} ${iso.slice(11, ms % 60_000 < 1000 ? 16 : 19)} UTC`
}
