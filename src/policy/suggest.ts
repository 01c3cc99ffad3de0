import { nearestName } from '../domain/nearest.ts'

/** The end of a message about a name that is not known: the nearest one, or all there are. */
export function suggest(name: string, known: readonly string[]): string {
  const nearest = nearestName(name, known)
  return nearest === null ? `; known are ${known.join(', ')}` : `; did you mean "${nearest}"?`
}
