import { nearestName } from '../domain/nearest.ts'

/** More names than this are no help in a message of one line. */
const MOST_LISTED = 40

/** The end of a message about a name that is not known: the nearest one, or all there are if they are few. */
export function suggest(name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known)
  if (nearest !== null) return `; did you mean "${nearest}"?`
  if (known.length > MOST_LISTED) return `; none of the ${known.length} that are known is like it`
  return known.length === 0 ? '' : `; known are ${known.join(', ')}`
}
