import type { Called, Named, SessionView } from '../naming/statement.ts'

/**
 * What statements run by a name: the words that it stands for in this session, and what those were given. Without that
 * `EXECUTE s` says nothing.
 */
export function meaningsOf(
  statements: readonly Named[],
  { prepared, cursors }: Pick<SessionView, 'prepared' | 'cursors'>,
): readonly Called[] {
  return statements.flatMap(({ effects }) =>
    effects.flatMap((effect): Called[] => {
      if (effect.does !== 'execute' && effect.does !== 'fetch' && effect.does !== 'take_current') return []
      const { name } = effect
      if (effect.does === 'execute') {
        const found = prepared.get(name)
        return found ? [{ ...NOTHING_GIVEN, name, sql: found.text, parameterTypes: found.parameterTypes ?? [] }] : []
      }
      const found = cursors.get(name)
      return found ? [{ ...NOTHING_GIVEN, sql: found.text, ...found.opened, name }] : []
    }),
  )
}

export const NOTHING_GIVEN = { parameterTypes: [], formats: [], values: [], resultFormats: [], meanings: [] } as const
