import type { Format } from '../wire/frontend.ts'

/** What naming and the wire say to each other: what a statement does, and the session that gives its names a meaning. */

/** What a session is, as far as names depend on it. */
export interface SessionView {
  readonly user: string
  readonly database: string
  readonly applicationName: string
  /** As the upstream reports it; anything but `UTF8` refuses every statement. */
  readonly clientEncoding: string
  /** Of the database, as the upstream reports it; anything but `UTF8` refuses what is not ASCII. */
  readonly serverEncoding: string
  /** As the upstream reports it; `false` refuses every statement. */
  readonly standardConformingStrings: boolean
  /**
   * `current_schemas(true)` in order, as the upstream says it: with `pg_temp_3` if there is one, and `pg_catalog`. Null
   * once something ran that may have changed it or the two above: names that are not qualified, and backslashes, are
   * refused until the upstream was asked again.
   */
  readonly searchPath: readonly string[] | null
  readonly inTransaction: boolean
  /** Statements prepared by SQL or by a Parse message, under the name EXECUTE finds them by. */
  readonly prepared: ReadonlyMap<string, Unresolved>
  /** Cursors that were declared (and named portals): FETCH does what they were declared for. */
  readonly cursors: ReadonlyMap<string, Cursor>
  /** False once code ran that cannot be seen: it may have given these names to something else. Then they are refused. */
  readonly hasCertainNames: boolean
  /**
   * Names of what was made or altered since the catalog could be asked last, and of temporary relations: they may stand
   * for something in any schema of the path. Grown by `advance`.
   */
  readonly shadows: ReadonlySet<string>
  /** Whether a setting that names depend on was made in the open transaction, so that its end unmakes it. Kept by `advance`. */
  readonly hasLocalPath: boolean
  readonly catalog: Catalog
}

/** The upstream's catalog, as far as a name that is not qualified needs it. */
export interface Catalog {
  /**
   * Which of these schemas hold something of the name, for each of `wanted`. `any` if it is not known; then every one
   * of them is named. `schemas` are entries of `searchPath` as they are (`pg_temp_3`); so are those that it returns.
   * The wire asks `pg_class`, `pg_proc`, `pg_operator` and `pg_type` in one query on the session's own upstream
   * connection, qualified with pg_catalog throughout. It rejects if it cannot be asked.
   */
  holders(wanted: readonly Wanted[], schemas: readonly string[]): Promise<readonly (readonly string[] | 'any')[]>
}

/**
 * `row_function` is a function that may be called with one argument of a row type (a domain over one, a pseudo-type;
 * others by default, or as many as one likes): `t.name` calls it where `t` has no column of the name. `value_function` is one of
 * whatever type: `(x).name` calls it. Both may as well be casts to a type of that name, as any function with one argument.
 */
export type NameKind = 'relation' | 'function' | 'operator' | 'type' | 'row_function' | 'value_function'

export interface Wanted {
  readonly kind: NameKind
  readonly name: string
}

/** One statement, named. */
export interface Named {
  /** The command tag in lower case: "select", "delete", "drop table", "copy": the statement's own verb. */
  readonly tag: string
  /** What it mainly acts on, qualified and quoted where it must be ("public.orders"); the database if there is nothing. */
  readonly resource: string
  /**
   * Everything it does to anything, its own verb and resource first. Each is one action: a rule for a relation matches
   * wherever in the statement that relation stands, and an `allow` covers nothing that it does not name.
   */
  readonly acts: readonly [Act, ...Act[]]
  readonly facts: StatementFacts
  /** What it does to the session, in the order in which it does it. */
  readonly effects: readonly Effect[]
  /** Whether it runs code that cannot be seen from here (DO, CALL, functions that are not vetted). */
  readonly isOpaque: boolean
  /**
   * Names of the columns by which it finds, orders, groups, joins or computes, as against those that it merely returns;
   * "*" where that may be any column of its relations.
   */
  readonly uses: readonly string[]
  /** The statement without the white space, comments and semicolon around it. */
  readonly text: string
  /** Where it is in the message, in bytes of UTF-8. */
  readonly location: { readonly start: number; readonly bytes: number }
  readonly claimed: { readonly trace?: string; readonly tags: Readonly<Record<string, string>> }
  /** The same before names were resolved: to resolve it again in another session state. */
  readonly unresolved: Unresolved
}

export interface Act {
  readonly verb: string
  readonly resource: string
  /** `catalog` is a relation of pg_catalog or information_schema that anyone may read; `secret` one of pg_catalog that holds secrets. */
  readonly nature: 'user' | 'catalog' | 'secret'
}

/** The facts of a statement as policy reads them: see `facts.ts`. Lists are sorted and hold nothing twice. */
export interface StatementFacts {
  readonly tables: readonly string[]
  readonly schemas: readonly string[]
  readonly functions: readonly string[]
  readonly columns: readonly string[]
  readonly roles: readonly string[]
  readonly languages: readonly string[]
  readonly files: readonly string[]
  readonly secrets: readonly string[]
  readonly copy_program: string
  readonly has_where: boolean
  readonly in_transaction: boolean
  readonly is_ddl: boolean
  readonly writes: boolean
  readonly statement: string
  readonly application_name: string
  readonly database: string
  readonly user: string
}

/** What a statement does to the session, once it succeeded. */
export type Effect =
  | { readonly does: 'begin' | 'commit' | 'rollback' }
  /** COMMIT PREPARED and its kind do not end the transaction they run in: they have none. */
  | { readonly does: 'savepoint' | 'release' | 'rollback_to'; readonly name: string }
  /** `value` is null for DEFAULT, RESET and whatever is not a list of constants. */
  | { readonly does: 'set'; readonly name: string; readonly value: readonly string[] | null; readonly isLocal: boolean }
  | { readonly does: 'reset_all' }
  /** `all` also closes cursors, forgets prepared statements and resets settings; `temp` drops temporary relations. */
  | { readonly does: 'discard'; readonly what: 'all' | 'plans' | 'sequences' | 'temp' }
  | { readonly does: 'prepare'; readonly name: string; readonly statement: Unresolved }
  | { readonly does: 'execute'; readonly name: string }
  /** A null name: all of them. */
  | { readonly does: 'deallocate' | 'close' | 'unlisten'; readonly name: string | null }
  /** One that is held is computed to its end by the COMMIT of its transaction, and stays. */
  | { readonly does: 'declare'; readonly name: string; readonly isHeld: boolean }
  | { readonly does: 'fetch' | 'listen'; readonly name: string }
  /** WHERE CURRENT OF: to the row that the cursor stands at. */
  | { readonly does: 'take_current'; readonly name: string }
  | { readonly does: 'copy_in' | 'copy_out' }
  | { readonly does: 'create_temporary'; readonly name: string }

/** A statement as the worker reduced it: plain data, names as they were written. Only `naming/` looks inside. */
export interface Unresolved {
  readonly summary: object
  /** As it was written: the summary of `id = 1` and of `id = 2` is the same. */
  readonly text: string
  /** Of one that a message prepared with them. */
  readonly parameterTypes?: readonly number[]
}

/** What a cursor does, or a portal that has a name. */
export interface Cursor extends Named {
  /** What it was opened with; left out where its text is all of that. */
  readonly opened?: Meaning
}

/** Words, what they were given, and what the names among them stood for then. */
export interface Meaning {
  readonly sql: string
  readonly parameterTypes: readonly number[]
  readonly formats: readonly Format[]
  readonly values: readonly (Buffer | null)[]
  readonly resultFormats: readonly Format[]
  readonly meanings: readonly Called[]
}

/** What a name stands for. */
export interface Called extends Meaning {
  readonly name: string
}

/** Why a message gets no names. `code` is the SQLSTATE (PostgreSQL, appendix A) to answer with. */
export interface Unnamed {
  readonly refused: true
  readonly code: string
  readonly message: string
  readonly hint?: string
  /** The character of the message that it is about, from 1 on. */
  readonly position?: number
}

/** How many rows a statement changes: known from its words, or what to ask for it. */
export type RowQuery = {
  /** Whether it has a RETURNING, whose rows a client may fetch in portions. */
  readonly returns: boolean
} & (
  | { readonly rows: number }
  | {
      /** One row of one number. */
      readonly count: string
      /** The rows themselves, each as one JSON object; a LIMIT may be put behind it. */
      readonly sample: string
      /** The numbers of the parameters that both refer to. */
      readonly parameters: readonly number[]
    }
)

export interface Namer {
  /**
   * Names every statement of a message, in order; none for a message without one. Never rejects for what the SQL is.
   * Refused: what cannot be parsed, is too long or too deep, holds a NUL, or changes the rules of parsing.
   */
  name(sql: string, session: SessionView, signal?: AbortSignal): Promise<readonly Named[] | Unnamed>
  /** The one statement of a Parse message, for `SessionView.prepared`; null if it is empty. */
  prepare(sql: string, signal?: AbortSignal): Promise<Unresolved | null | Unnamed>
  /** How to ask for the rows that one statement (`Named.text`) would change; null if that cannot be asked. */
  rowQuery(statement: string, signal?: AbortSignal): Promise<RowQuery | null>
  stop(): Promise<void>
}

export function isUnnamed(value: object | null): value is Unnamed {
  return value !== null && 'refused' in value
}
