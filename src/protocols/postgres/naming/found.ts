import type { Mention, Summary, SummaryEffect } from './summary.ts'
import { Unnameable } from './unnameable.ts'

/** As many as a table can have columns (PostgreSQL, appendix K). What is named is sorted and sent more than once. */
const MAX_NAMES = 1_600

/** What a walk gathers. */
export interface Found {
  /** Under what makes each one different: an operator is mentioned thirty thousand times in a long sum. */
  readonly mentions: Map<string, Mention>
  readonly fields: Set<string>
  /** Of any value, and not of a row. */
  readonly valueFields: Set<string>
  readonly columns: Set<string>
  /** Columns that are used otherwise than to return them. */
  readonly uses: Set<string>
  /** Names that a column reference of one name may mean as a whole row. */
  readonly rows: Set<string>
  readonly bareColumns: Set<string>
  readonly roles: Set<string>
  readonly languages: Set<string>
  readonly files: Set<string>
  readonly executes: { name: string; as: string | null }[]
  readonly fetches: Set<string>
  readonly effects: SummaryEffect[]
  /** Whether each UPDATE and DELETE has a condition; undefined while none was met. */
  isBounded: boolean | undefined
  /** Whether a function stands in FROM: its rows may be values of any type. */
  hasFunctionRows: boolean
  copyProgram: string
  writes: boolean
  isOpaque: boolean
}

export function emptyFound(): Found {
  return {
    mentions: new Map(),
    fields: new Set(),
    valueFields: new Set(),
    hasFunctionRows: false,
    columns: new Set(),
    uses: new Set(),
    rows: new Set(),
    bareColumns: new Set(),
    roles: new Set(),
    languages: new Set(),
    files: new Set(),
    executes: [],
    fetches: new Set(),
    effects: [],
    isBounded: undefined,
    copyProgram: '',
    writes: false,
    isOpaque: false,
  }
}

/** The plain data of what was found. */
export function summaryOf(found: Found, more: Pick<Summary, 'tag' | 'isDdl' | 'hasWhere'>): Summary {
  const columns = new Set(found.columns)
  const uses = new Set(found.uses)
  for (const name of found.bareColumns) {
    columns.add(found.rows.has(name) ? '*' : name)
    if (found.rows.has(name)) uses.add('*')
  }
  if (Math.max(columns.size, found.mentions.size, found.fields.size) > MAX_NAMES) {
    throw new Unnameable(
      '54001',
      `Not executed. The statement has more than ${MAX_NAMES} names of one kind.`,
      'Split it.',
    )
  }
  return {
    ...more,
    mentions: [...found.mentions.values()],
    fields: [...found.fields],
    valueFields: [...(found.hasFunctionRows ? found.fields : found.valueFields)],
    columns: [...columns],
    uses: [...uses],
    roles: [...found.roles],
    languages: [...found.languages],
    files: [...found.files],
    copyProgram: found.copyProgram,
    writes: found.writes,
    isOpaque: found.isOpaque,
    effects: found.effects,
    executes: found.executes,
    fetches: [...found.fetches],
  }
}
