import { nearestName } from '../domain/nearest.ts'

/** The end of a message about a name that is not known: the nearest one, or all there are. */
export function suggest(name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known)
  if (nearest !== null) return `; did you mean "${nearest}"?`
  return known.length === 0 ? '' : `; known are ${known.join(', ')}`
}
