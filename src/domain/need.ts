import type { Need } from './card.ts'

/**
 * What one requirement asks for besides its reviewers and their number, as parts of a sentence: the same words on every
 * screen.
 */
export function describeTerms(need: Omit<Need, 'reviewers' | 'quorum'>): readonly string[] {
  const { exclude, isReasonRequired, denyQuorum, hours, escalate, override } = need
  return [
    ...(exclude ? [`not ${exclude.join(', ')}`] : []),
    ...(isReasonRequired ? ['with a reason'] : []),
    ...(denyQuorum ? [`${denyQuorum} denials deny it`] : []),
    ...(hours ? [`approvals count ${hours}`] : []),
    ...(override ? [`${override.join(', ')} may override`] : []),
    ...(escalate ? [`from ${formatMoment(escalate.at)} also ${escalate.to.join(', ')}`] : []),
  ]
}

/** To the second where that matters, in UTC: who reads it may be anywhere. */
function formatMoment(ms: number): string {
  const iso = new Date(ms).toISOString()
  return `${iso.slice(0, 10)} ${iso.slice(11, ms % 60_000 < 1000 ? 16 : 19)} UTC`
}
