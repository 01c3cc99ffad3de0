import type { NameKind, Unnamed } from './statement.ts'

/** What the worker says of one statement: plain data, names as they were written. */
export interface Summary {
  readonly tag: string
  readonly mentions: readonly Mention[]
  /** `t.name` and `(x).name`: a column, or a function of one row (PostgreSQL, 4.2.6, "field selection"). */
  readonly fields: readonly string[]
  /** Those of them that may be a function of one value, whatever its type. */
  readonly valueFields: readonly string[]
  readonly columns: readonly string[]
  /** Those of them that it finds, orders, groups or computes by, and not merely returns; "*" where that may be any. */
  readonly uses: readonly string[]
  readonly roles: readonly string[]
  readonly languages: readonly string[]
  readonly files: readonly string[]
  readonly copyProgram: string
  readonly hasWhere: boolean
  readonly isDdl: boolean
  readonly writes: boolean
  readonly isOpaque: boolean
  readonly effects: readonly SummaryEffect[]
  /** Prepared statements it runs. With `as`, they are only planned, under that verb. */
  readonly executes: readonly { readonly name: string; readonly as: string | null }[]
  /** Cursors it takes rows of. */
  readonly fetches: readonly string[]
}

export interface Mention {
  readonly verb: string
  /** `other` is in a schema, of a kind the catalog is not asked for; `global` is in none. */
  readonly kind: NameKind | 'other' | 'global'
  readonly schema: string | null
  readonly name: string
  /** It does not exist yet: it will be where the search path makes things. */
  readonly isMade: boolean
}

export type SummaryEffect =
  | { readonly does: 'begin' | 'commit' | 'rollback' | 'reset_all' | 'copy_in' | 'copy_out' }
  | { readonly does: 'savepoint' | 'release' | 'rollback_to'; readonly name: string }
  | { readonly does: 'set'; readonly name: string; readonly value: readonly string[] | null; readonly isLocal: boolean }
  | { readonly does: 'discard'; readonly what: 'all' | 'plans' | 'sequences' | 'temp' }
  | { readonly does: 'prepare'; readonly name: string; readonly summary: Summary }
  | { readonly does: 'declare'; readonly name: string; readonly isHeld: boolean }
  | { readonly does: 'execute' | 'fetch' | 'take_current' | 'listen' | 'create_temporary'; readonly name: string }
  | { readonly does: 'deallocate' | 'close' | 'unlisten'; readonly name: string | null }

/** One statement of a message. Offsets are bytes of UTF-8. */
export interface Piece {
  readonly start: number
  readonly bytes: number
  readonly summary: Summary
}

export type Parsed = { readonly pieces: readonly Piece[] } | Unnamed
