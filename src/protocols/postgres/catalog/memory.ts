import { formatMask } from '../../../domain/verdict.ts'
import type { Clock } from '../../../platform/clock.ts'
import type { Catalog, Wanted } from '../naming/statement.ts'
import type { AskHidden, Hidden } from './hidden.ts'

/** How long an answer of the catalog is good for, in milliseconds. */
const FRESH_MS = 1_000
const MAX_ANSWERS = 10_000
const MAX_PLACES = 1_000

/** What the sessions with one upstream were told by its catalog in the last second. */
export interface CatalogMemory {
  /**
   * A catalog that is asked for what is not known here.
   *
   * @param session.isApart whether the session may see another catalog than others do: then nothing is remembered for it
   */
  before(catalog: Catalog, session: { readonly database: string; isApart(): boolean }): Catalog
  /**
   * The same for where masked columns are.
   *
   * @param session.isBehind whether it may see an older catalog than others do: then it is told what is remembered here,
   *   and nobody else what it was told
   */
  beforeHidden(
    ask: AskHidden,
    session: { readonly database: string; isApart(): boolean; isBehind(): boolean },
  ): AskHidden
  /** To be called when something may have changed it. */
  forget(): void
}

/**
 * To ask takes longer than all else that naming does. A name stands for every schema of the path that holds it, so that
 * what may be missing for a second is only something that was made in that second, past this gateway.
 */
export function createCatalogMemory(clock: Pick<Clock, 'monotonic'>): CatalogMemory {
  const answers = new Map<string, { readonly holders: readonly string[]; readonly at: number }>()
  const places = new Map<string, { readonly hidden: Hidden; readonly at: number }>()
  let generation = 0

  function known(key: string): readonly string[] | null {
    const answer = answers.get(key)
    return answer && clock.monotonic() - answer.at < FRESH_MS ? answer.holders : null
  }

  return {
    before: (catalog, { database, isApart }) => ({
      async holders(wanted, schemas) {
        // Temporary relations are a session's own.
        if (isApart() || schemas.some((schema) => schema.startsWith('pg_temp'))) return catalog.holders(wanted, schemas)
        const place = JSON.stringify([database, schemas])
        const keyOf = ({ kind, name }: Wanted) => `${place} ${kind} ${name}`
        const found = new Map<string, readonly string[] | 'any'>()
        for (const key of wanted.map(keyOf)) {
          // Taken now: it may be too old once the others are told.
          const holders = known(key)
          if (holders) found.set(key, holders)
        }
        const unknown = wanted.filter((one) => !found.has(keyOf(one)))
        if (unknown.length > 0) {
          const asked = { at: clock.monotonic(), generation }
          const told = await catalog.holders(unknown, schemas)
          // What was known before a change, or told, says nothing about what came of it.
          if (asked.generation !== generation) return catalog.holders(wanted, schemas)
          if (answers.size + told.length > MAX_ANSWERS) answers.clear()
          for (const [index, one] of unknown.entries()) {
            const holders = told[index] ?? 'any'
            found.set(keyOf(one), holders)
            if (holders !== 'any') answers.set(keyOf(one), { holders, at: asked.at })
          }
        }
        return wanted.map((one) => found.get(keyOf(one)) ?? 'any')
      },
    }),
    beforeHidden: (ask, { database, isApart, isBehind }) =>
      async function askHidden(masks, tables) {
        if (isApart() || tables.some((table) => table.startsWith('pg_temp.'))) return ask(masks, tables)
        const key = JSON.stringify([database, masks.map(formatMask), tables])
        const last = places.get(key)
        if (last && clock.monotonic() - last.at < FRESH_MS) return last.hidden
        const asked = { at: clock.monotonic(), generation }
        const hidden = await ask(masks, tables)
        if (hidden === null || isBehind() || asked.generation !== generation) return hidden
        if (places.size >= MAX_PLACES) places.clear()
        places.set(key, { hidden, at: asked.at })
        return hidden
      },
    forget() {
      generation += 1
      answers.clear()
      places.clear()
    },
  }
}
