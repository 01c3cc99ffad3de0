import type { Payload } from '../../../domain/card.ts'
import { fitInto } from '../../../domain/visible.ts'
import type { Settings } from '../catalog/settings.ts'
import type { Called, Meaning } from '../naming/statement.ts'
import type { Doing } from '../planning/plan.ts'

const MAX_CHARACTERS = 20_000
const MAX_VALUE_CHARACTERS = 4_000

/**
 * What reviewers are shown of a batch: its statements as they were written, each with its parameters; and where one runs
 * another by its name, that one; and what the session has set, which they may read. What the agent wrote is set in, so that no line of it can be taken for one of the
 * gateway's.
 */
export function presentDoings(doings: readonly Doing[], settings: Settings = []): Payload {
  let isCut = false
  const lines: string[] = []
  const showValues = ({ values, formats }: Pick<Meaning, 'values' | 'formats'>) => {
    for (const [index, value] of values.entries()) {
      const { text, isWhole } = showValue(value, (formats.length === 1 ? formats[0] : formats[index]) ?? 'text')
      if (!isWhole) isCut = true
      lines.push(`$${index + 1} = ${text}`)
    }
  }
  const showMeanings = (meanings: readonly Called[]) => {
    for (const meaning of meanings) {
      lines.push(`${JSON.stringify(meaning.name)} stands for:`, setIn(meaning.sql))
      showValues(meaning)
      showMeanings(meaning.meanings)
    }
  }
  for (const { how, sql, bound, meanings, maxRows } of doings) {
    if (how === 'prepare') lines.push('Made ready, not run:')
    lines.push(setIn(sql))
    if (bound) showValues(bound)
    if (maxRows > 0) lines.push(`At most ${maxRows} rows at a time.`)
    showMeanings(meanings)
  }
  for (const [name, value] of settings) {
    if (value.length > MAX_VALUE_CHARACTERS) isCut = true
    lines.push(`${JSON.stringify(name)} is set to ${JSON.stringify(value.slice(0, MAX_VALUE_CHARACTERS))}`)
  }
  const whole = lines.join('\n')
  const fitted = fitInto(whole, MAX_CHARACTERS, { isMultiline: true })
  if (fitted.isCut) isCut = true
  return {
    mediaType: 'application/sql',
    bytes: Buffer.byteLength(whole),
    text: isCut ? `${fitted.text}\n[cut: there is more than is shown here]` : fitted.text,
    isCut,
    redacted: [],
  }
}

/** Whatever else may begin a line is written out: see `makeVisible`. */
function setIn(sql: string): string {
  return `  ${sql.replaceAll('\n', '\n  ')}`
}

/** A value on one line: as JSON has it, so that it cannot look like the next one. */
function showValue(value: Buffer | null, format: 'text' | 'binary'): { text: string; isWhole: boolean } {
  if (value === null) return { text: 'NULL', isWhole: true }
  const isWhole = value.length <= MAX_VALUE_CHARACTERS
  const shown = value.subarray(0, MAX_VALUE_CHARACTERS)
  if (format === 'binary') return { text: `\\x${shown.toString('hex')} (binary)`, isWhole }
  const text = new TextDecoder('utf-8').decode(shown)
  // What is not UTF-8 is shown as something else than it is.
  return { text: JSON.stringify(text), isWhole: isWhole && !text.includes('\ufffd') }
}
