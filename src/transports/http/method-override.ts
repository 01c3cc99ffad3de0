import { parseQuery } from './request-target.ts'

/**
 * Whether a field of this name replaces the method: frameworks read `_method` from queries and forms, PHP takes spaces
 * before a name away and reads dots, spaces and brackets in it as underscores, and Rack and qs take brackets away.
 */
export function isMethodOverride(name: string): boolean {
  return /^[ [\]]*[_. [\]]method(?:[[\]]|$)/i.test(name)
}

/** The same for a normalised query. */
export function overridesMethod(query: string): boolean {
  if (!/method/i.test(query)) return false
  return (parseQuery(query) ?? []).some(([name]) => isMethodOverride(name))
}
