import type { Problem } from '../platform/yaml.ts'

/** Tells what is wrong from what was asked for. */
export function isProblems(value: unknown): value is readonly Problem[] {
  return Array.isArray(value)
}
