import { z } from 'zod'
import type { Tolerance } from '../../../domain/impact.ts'
import type { JsonObject } from '../../../domain/json.ts'

/** What was counted before a decision, for each statement that runs; null where it is not known. */
export interface Foreseen {
  readonly rows: readonly (number | null)[]
  /** Under which it was approved. */
  readonly tolerances: readonly Tolerance[]
}

const schema = z.strictObject({
  rows: z.array(z.int().min(0).nullable()),
  tolerances: z.array(z.union([z.strictObject({ percent: z.int().min(0) }), z.strictObject({ rows: z.int().min(0) })])),
})

export function encodeForeseen({ rows, tolerances }: Foreseen): JsonObject {
  return { rows: [...rows], tolerances: tolerances.map((one) => ({ ...one })) }
}

/** Null where nothing was kept: by a release that did not count. */
export function readForeseen(kept: unknown): Foreseen | null {
  return kept === undefined ? null : schema.parse(kept)
}
