import { qualify, quote, schemaName } from './identifier.ts'
import { natureOf } from './secret.ts'
import type { Act, Effect, Named, NameKind, SessionView, StatementFacts, Wanted } from './statement.ts'
import type { Mention, Summary } from './summary.ts'
import { Unnameable } from './unnameable.ts'
import { VETTED } from './vetted.ts'

/**
 * From names as they were written to names with their schemas.
 *
 * A name without a schema is what the server finds first on the search path, and an agent may choose the path, make a
 * temporary relation that shadows a permanent one, or drop what shadows. So a name is not resolved to the first: it
 * stands for **every** schema of the path that holds it (asked of the upstream's own catalog on the same session), and
 * each of them is an act of its own. A rule against public.users meets the statement whichever of them the server takes,
 * and a rule that allows one of them does not allow the others. If nothing holds it yet, or it was made or altered
 * earlier in the same batch, it stands for every schema of the path. If the path itself may have changed since it was
 * asked for, names without a schema are refused.
 *
 * The same goes for functions, operators and types: public.lower(varchar) is called in place of pg_catalog.lower(text)
 * by an unqualified lower() on a varchar (CVE-2018-1058), so an unqualified name counts as the server's own only if no
 * other schema of the path has one.
 *
 * What is hidden behind a relation (views, rules, triggers, policies, defaults, inheritance) or behind a cast stays
 * hidden: it is named when it is defined. What another session makes between the question and the execution is not seen.
 * Code that cannot be seen (DO, CALL, functions that are not vetted) can do whatever its owner wrote, its session
 * included; what names stand for afterwards is asked of the server (names.ts).
 */
export interface Resolver {
  readonly view: SessionView
  /** Of the statement. */
  readonly text: string
  /** Where each wanted name is. */
  readonly holders: ReadonlyMap<string, readonly string[] | 'any'>
}

export interface Resolved {
  readonly acts: readonly [Act, ...Act[]]
  readonly facts: Omit<StatementFacts, 'statement'>
  readonly isOpaque: boolean
  readonly effects: readonly Effect[]
  readonly uses: readonly string[]
}

const MAX_ACTS = 200
/** Of statements that execute what was prepared, which executes what was prepared. */
const MAX_NESTING = 4

/** Functions of pg_catalog that need policy and yet leave no doubt about names and settings of the session. */
const CLEAR =
  /^(pg_(try_)?advisory_|(nextval|setval|currval|lastval|set_config|pg_notify|setseed|txid_current|pg_current_xact_id)$|pg_sleep|pg_(cancel|terminate)_backend$|lo_)/

const CHANGES: ReadonlySet<string> = new Set(['insert', 'update', 'delete', 'merge'])

/** Every name of a statement that the catalog has to be asked for. */
export function wantedOf(summary: Summary, view: SessionView, nesting = 0): readonly Wanted[] {
  if (nesting > MAX_NESTING) return []
  const own = summary.mentions.flatMap(({ kind, schema, name, isMade }): Wanted[] =>
    schema === null && !isMade && kind !== 'global' && kind !== 'other' ? [{ kind, name }] : [],
  )
  const fields = [
    ...summary.fields.map((name): Wanted => ({ kind: 'row_function', name })),
    ...summary.valueFields.map((name): Wanted => ({ kind: 'value_function', name })),
  ]
  const inner = summary.effects.flatMap((effect) =>
    effect.does === 'prepare' ? wantedOf(effect.summary, view, nesting + 1) : [],
  )
  const executed = summary.executes.flatMap(({ name }) => {
    const prepared = view.prepared.get(name)
    return prepared ? wantedOf(asSummary(prepared.summary), view, nesting + 1) : []
  })
  const fetched = summary.fetches.flatMap((name) => {
    const cursor = view.cursors.get(name)
    return cursor && isPlannedLate(cursor) ? wantedOf(asSummary(cursor.unresolved.summary), view, nesting + 1) : []
  })
  return [...own, ...fields, ...inner, ...executed, ...fetched]
}

export function wantedKey({ kind, name }: Wanted): string {
  return `${kind} ${name}`
}

/**
 * What a statement does in a session.
 *
 * @throws {Unnameable} if a name of it cannot be told
 */
export function resolve(summary: Summary, resolver: Resolver, nesting = 0): Resolved {
  if (nesting > MAX_NESTING) throw new Unnameable('54001', 'Not executed. Prepared statements execute one another.')
  const { view } = resolver
  const gathered = gather(summary, resolver)
  const { acts, tables, schemas, functions, secrets } = gathered
  let { isOpaque, writes } = gathered
  const lists = {
    columns: new Set(summary.columns),
    roles: new Set(summary.roles),
    languages: new Set(summary.languages),
    files: new Set(summary.files),
  }
  let { copyProgram } = summary
  let { hasWhere, isDdl } = summary
  const effects: Effect[] = []
  const uses = new Set(summary.uses)
  if (gathered.takesRows) uses.add('*')

  const include = (facts: Omit<StatementFacts, 'statement'>) => {
    for (const one of facts.tables) tables.add(one)
    for (const one of facts.schemas) schemas.add(one)
    for (const one of facts.functions) functions.add(one)
    for (const one of facts.secrets) secrets.add(one)
    for (const list of ['columns', 'roles', 'languages', 'files'] as const) {
      for (const one of facts[list]) lists[list].add(one)
    }
    copyProgram ||= facts.copy_program
    hasWhere = facts.has_where
  }

  for (const effect of summary.effects) {
    if (effect.does !== 'prepare') effects.push(effect)
    else {
      include(resolve(effect.summary, resolver, nesting + 1).facts)
      effects.push({ does: 'prepare', name: effect.name, statement: { summary: effect.summary, text: resolver.text } })
    }
  }
  for (const { name, as } of summary.executes) {
    const prepared = view.prepared.get(name)
    if (!prepared) throw unknownName('26000', 'prepared statement', name)
    if (!view.hasCertainNames) throw uncertainName(name)
    const inner = resolve(asSummary(prepared.summary), { ...resolver, text: prepared.text }, nesting + 1)
    include(inner.facts)
    for (const act of inner.acts) acts.push(as === null || act.verb === 'call' ? act : { ...act, verb: as })
    if (as === null) effects.push(...inner.effects)
    // Of a definition that was prepared by a message it is not told here which names it makes.
    isOpaque ||= inner.isOpaque || inner.facts.is_ddl
    for (const one of inner.uses) uses.add(one)
    isDdl ||= as === null && inner.facts.is_ddl
    writes ||= as === null && inner.facts.writes
  }
  for (const name of summary.fetches) {
    const cursor = view.cursors.get(name)
    if (!cursor) throw unknownName('34000', 'cursor', name)
    if (!view.hasCertainNames) throw uncertainName(name)
    include(cursor.facts)
    acts.push(...cursor.acts.filter(({ verb }) => verb !== 'declare cursor'))
    for (const one of cursor.uses) uses.add(one)
    isOpaque ||= cursor.isOpaque
    writes ||= cursor.facts.writes
    // It is computed as rows are taken: what it sets is set then.
    effects.push(...cursor.effects.filter(({ does }) => does !== 'declare'))
    if (!isPlannedLate(cursor)) continue
    const now = resolve(asSummary(cursor.unresolved.summary), { ...resolver, text: cursor.text }, nesting + 1)
    include(now.facts)
    acts.push(...now.acts)
    effects.push(...now.effects)
    for (const one of now.uses) uses.add(one)
    isOpaque ||= now.isOpaque
    isDdl ||= now.facts.is_ddl
    writes ||= now.facts.writes
  }
  isOpaque ||= effects.some(({ does }) => does === 'commit') && [...view.cursors.values()].some(runsAtCommit)

  return {
    acts: mainFirst(summary, view, acts, gathered.main),
    isOpaque,
    effects,
    uses: sorted(uses),
    facts: {
      tables: sorted(tables),
      schemas: sorted(schemas),
      functions: sorted(functions),
      columns: sorted(lists.columns),
      roles: sorted(lists.roles),
      languages: sorted(lists.languages),
      files: sorted(lists.files),
      secrets: sorted(secrets),
      copy_program: copyProgram,
      has_where: hasWhere,
      in_transaction: view.inTransaction,
      is_ddl: isDdl,
      writes: writes || isOpaque,
      application_name: view.applicationName,
      database: view.database,
      user: view.user,
    },
  }
}

/** What is planned when it is declared or bound, and is then that, whatever becomes of its names. */
const PLANNED = /^(declare cursor|select|insert|update|delete|merge)\b/

/** A portal of any other statement (EXECUTE, EXPLAIN, FETCH) does what its names mean when rows are taken from it. */
function isPlannedLate({ tag }: Named): boolean {
  return !PLANNED.test(tag)
}

/** A cursor that outlives its transaction is computed by its end, whoever asks for that. */
export function runsAtCommit({ isOpaque, effects }: Named): boolean {
  return isOpaque && effects.some((effect) => effect.does === 'declare' && effect.isHeld)
}

/** The acts of what the statement's own words mention. */
function gather(summary: Summary, resolver: Resolver) {
  const acts: Act[] = []
  const [tables, schemas, functions, secrets] = [
    new Set<string>(),
    new Set<string>(),
    new Set<string>(),
    new Set<string>(),
  ]
  let main: Act | null = null
  let { isOpaque, writes } = summary
  let takesRows = false

  const add = (mention: Mention, act: Act) => {
    acts.push(act)
    if (mention.verb === summary.tag) main ??= act
  }
  const call = (schema: string, name: string): void => {
    const isServers = schema === 'pg_catalog'
    if (!(isServers && CLEAR.test(name))) isOpaque = true
    writes = true
    acts.push({ verb: 'call', resource: qualify(schema, name), nature: 'user' })
  }

  for (const mention of summary.mentions) {
    const { verb, kind, name } = mention
    if (kind === 'global') {
      add(mention, { verb, resource: quote(name), nature: 'user' })
      continue
    }
    for (const schema of schemasOf(mention, resolver)) {
      const resource = qualify(schema, name)
      if (kind === 'relation') {
        const nature = natureOf(schema, name)
        tables.add(resource)
        schemas.add(schema)
        if (nature === 'secret') secrets.add(resource)
        // UPDATE pg_settings sets settings; what else a change of the catalog does to the session is not known.
        if (schema === 'pg_catalog' && CHANGES.has(verb)) isOpaque = true
        add(mention, { verb, resource, nature })
      } else if (kind === 'function') {
        functions.add(resource)
        if (verb !== 'call') add(mention, { verb, resource, nature: 'user' })
        else if (!isVetted(schema, name)) {
          call(schema, name)
          if (summary.tag === 'call') main ??= acts.at(-1) ?? null
        }
      } else if (kind === 'operator') {
        if (verb !== 'call') add(mention, { verb, resource, nature: 'user' })
        else if (schema !== 'pg_catalog') {
          functions.add(resource)
          call(schema, name)
        }
      } else if (verb !== 'use type' || schema !== 'pg_catalog') {
        schemas.add(schema)
        add(mention, { verb, resource, nature: natureOf(schema, name) })
      }
    }
  }
  const callField = (kind: 'row_function' | 'value_function', name: string): void => {
    for (const schema of schemasOf({ kind, name, schema: null, isMade: false }, resolver)) {
      takesRows ||= kind === 'row_function'
      if (isVetted(schema, name)) continue
      functions.add(qualify(schema, name))
      call(schema, name)
    }
  }
  for (const name of summary.fields) callField('row_function', name)
  for (const name of summary.valueFields) callField('value_function', name)
  return { acts, tables, schemas, functions, secrets, isOpaque, writes, takesRows, main: main as Act | null }
}

function isVetted(schema: string, name: string): boolean {
  return (schema === 'pg_catalog' && VETTED.has(name)) || (schema === 'information_schema' && name.startsWith('_pg_'))
}

type Name = Pick<Mention, 'schema' | 'name' | 'isMade'> & { readonly kind: NameKind | 'other' | 'global' }

/** Every schema that a name may be found in. */
function schemasOf({ kind, schema, name, isMade }: Name, { view, holders }: Resolver): readonly string[] {
  // Another session's temporary relations keep their number.
  if (schema !== null) return [view.searchPath?.includes(schema) ? schemaName(schema) : schema]
  if (view.searchPath === null) {
    throw new Unnameable(
      '0A000',
      `Not executed. It is not certain which schema "${name.slice(0, 63)}" is in: the search path may have changed just before.`,
      'Write names with their schemas, or send this statement in a message of its own.',
    )
  }
  const path = [...new Set(view.searchPath.map(schemaName))]
  const ordinary = path.filter((one) => one !== 'pg_temp' && one !== 'pg_catalog')
  if (isMade) {
    const [first] = ordinary
    if (first === undefined) throw new Unnameable('3F000', 'no schema has been selected to create in')
    return [first]
  }
  const isShadowable = kind === 'relation' || kind === 'type'
  const possible = path.filter((one) => {
    if (one === 'pg_temp') return isShadowable
    return one !== 'pg_catalog' || kind !== 'relation' || name.startsWith('pg_')
  })
  if (view.shadows.has(name)) return isShadowable ? [...new Set(['pg_temp', ...possible])] : possible
  if (kind === 'other') return ordinary
  const isOfField = kind === 'row_function' || kind === 'value_function'
  if (isOfField && !holders.has(wantedKey({ kind, name }))) return []
  const held = kind === 'global' ? 'any' : (holders.get(wantedKey({ kind, name })) ?? 'any')
  if (held === 'any') return isOfField ? ordinary : possible
  if (held.length > 0) return [...new Set(held.map(schemaName))]
  if (isOfField) return []
  // Nothing of the name yet: it is where it will be, and that is not the server's own schema.
  return ordinary.length > 0 ? ordinary : possible
}

function mainFirst(
  summary: Summary,
  view: SessionView,
  acts: readonly Act[],
  main: Act | null,
): readonly [Act, ...Act[]] {
  const first: Act = main ?? { verb: summary.tag, resource: quote(view.database), nature: 'user' }
  const unique = new Map<string, Act>()
  for (const act of acts) unique.set(`${act.verb} ${act.resource}`, act)
  unique.delete(`${first.verb} ${first.resource}`)
  if (unique.size >= MAX_ACTS) {
    throw new Unnameable('54001', `Not executed. The statement does more than ${MAX_ACTS} things at once.`, 'Split it.')
  }
  return [first, ...unique.values()]
}

function unknownName(code: string, kind: string, name: string): Unnameable {
  return new Unnameable(
    code,
    `${kind} "${name.slice(0, 63)}" does not exist`,
    `The gateway knows those made by a statement of this session only.`,
  )
}

function uncertainName(name: string): Unnameable {
  return new Unnameable(
    '0A000',
    `Not executed. It is not certain what "${name.slice(0, 63)}" stands for: code that ran just before may have changed it.`,
    'Send this statement in a message of its own.',
  )
}

function sorted(values: Iterable<string>): readonly string[] {
  return [...values].sort()
}

/** What this folder made is what it reads: nothing else makes an `Unresolved`. */
export function asSummary(summary: object): Summary {
  return summary as Summary
}

export function named(
  { summary, text, location, claimed }: Pick<Named, 'text' | 'location' | 'claimed'> & { readonly summary: Summary },
  resolved: Resolved,
): Named {
  return {
    tag: summary.tag,
    resource: resolved.acts[0].resource,
    acts: resolved.acts,
    facts: { ...resolved.facts, statement: text },
    effects: resolved.effects,
    isOpaque: resolved.isOpaque,
    uses: resolved.uses,
    text,
    unresolved: { summary, text },
    location,
    claimed,
  }
}
