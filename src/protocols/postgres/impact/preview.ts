import { counted } from '../../../domain/counted.ts'
import { type ImpactTerms, mostRows, NO_IMPACT_TERMS } from '../../../domain/impact.ts'
import { cut, makeVisible } from '../../../domain/visible.ts'
import type { Named, Namer, SessionView } from '../naming/statement.ts'
import type { Doing } from '../planning/plan.ts'
import type { Question } from '../relay/question.ts'
import { SessionOver } from '../relay/session-over.ts'
import { type AsideRelay, askAside } from './aside.ts'
import { type Ask, showCascades, showDependants, showPlan, showSample, showTriggers } from './details.ts'
import { about, UNSEEN, UNSEEN_TYPES } from './relations.ts'
import { changesRows, type Running, runningOf, type Touched, touchedBy } from './touched.ts'

export interface PreviewParts {
  readonly doings: readonly Doing[]
  /** Whether it is forwarded in stages, since code in it may give another meaning to what follows. */
  readonly isDivided: boolean
  readonly namer: Namer
  readonly relay: AsideRelay & { readonly over: AbortSignal }
  /** As the batch will find it. */
  readonly view: SessionView
  /** Puts on record that the upstream will be asked. If it rejects, nothing is asked. */
  record(what: { readonly for: 'rule' | 'card'; readonly statements: number }): Promise<void>
  monotonic(): number
  /** Aborts when the client has left, or has cancelled the call. */
  readonly gone: AbortSignal
  /** Whose rights rows are asked for with; null: the session's. */
  readonly role: string | null
}

/** What a batch would touch, asked of the upstream before anybody decided. */
export interface Preview {
  /** Rows for each statement that runs, in their order; null where that is not known. Counted once. */
  rows(): Promise<readonly (number | null)[]>
  /** For the card, one line each. */
  describe(terms: ImpactTerms | undefined): Promise<readonly string[]>
}

/** For all that is asked about one call, in milliseconds. */
const TIME_MS = 5_000
/** More statements than that in one batch are not asked about. */
const MAX_STATEMENTS = 20
/** Notes of one card, and characters of each: a chat shows no more, with those that others make. */
const MAX_NOTES = 8
const MAX_NOTE = 300
const MORE = 'There is more to say of what it would touch than is shown here.'

export function createPreview(parts: PreviewParts): Preview {
  const { doings, isDivided, namer, relay, view, record, monotonic, gone, role } = parts
  const running = runningOf(doings)
  let known: Promise<readonly Found[]> | null = null

  /** Asks under one deadline and one entry of the log; answers null once either cannot be. */
  function begin(what: 'rule' | 'card'): Ask {
    const endsAt = monotonic() + TIME_MS
    let recorded: Promise<boolean> | null = null
    return async (question, { isOfRows = false } = {}) => {
      recorded ??= record({ for: what, statements: running.length }).then(
        () => true,
        () => false,
      )
      if (!(await recorded)) return 'it could not be put on record'
      const leftMs = endsAt - monotonic()
      if (leftMs <= 0) return 'it took too long'
      if (gone.aborted) return 'nobody waits for it any more'
      try {
        const answer = await askAside(relay, question, { timeoutMs: leftMs, role: isOfRows ? role : null })
        if (answer === null) return 'the session cannot be asked where it stands'
        return answer.error ? whyOf(answer.error['C']) : answer
      } catch (error) {
        if (error instanceof SessionOver) return 'the session is over'
        throw error
      }
    }
  }

  function find(what: 'rule' | 'card'): Promise<readonly Found[]> {
    known ??= findAll(begin(what))
    return known
  }

  async function findAll(ask: Ask): Promise<readonly Found[]> {
    const found: Found[] = []
    for (const [index, one] of running.entries()) {
      found.push(index < MAX_STATEMENTS ? await count(one, index, ask) : { rows: null, why: 'there are too many' })
    }
    return found
  }

  async function count(one: Running, index: number, ask: Ask): Promise<Found> {
    if (isDivided) return { rows: null, why: 'code that cannot be seen runs in the same batch' }
    const touched = await touchedBy(running, index, { namer, view, signal: relay.over })
    if ('why' in touched) return { rows: null, why: touched.why }
    if ('rows' in touched) return { rows: touched.rows, why: null }
    const unseen = await whyUnseen(one.named, ask)
    if (unseen !== null) return { rows: null, why: unseen }
    const answer = await ask(bind(touched.ask.count, touched.ask, one), { isOfRows: true })
    if (typeof answer === 'string') return { rows: null, why: answer }
    const rows = Number(answer.rows[0]?.[0] ?? Number.NaN)
    if (!Number.isSafeInteger(rows)) return { rows: null, why: 'the upstream did not say' }
    return { rows, why: null, ask: touched }
  }

  /** Why reading its relations might run what cannot be seen; null if it does not. */
  async function whyUnseen({ facts, acts }: Named, ask: Ask): Promise<string | null> {
    const relations = await ask(about(UNSEEN, facts.tables))
    if (typeof relations === 'string') return relations
    const [name] = relations.rows[0] ?? []
    if (name) return `reading ${name} may run rules, views or row security that are not seen here`
    const types = acts.filter(({ verb }) => verb === 'use type').map(({ resource }) => resource)
    if (types.length === 0) return null
    const checked = await ask(about(UNSEEN_TYPES, types))
    if (typeof checked === 'string') return checked
    const [type] = checked.rows[0] ?? []
    return type ? `values of ${type} may be checked by what is not seen here` : null
  }

  async function describe(terms: ImpactTerms = NO_IMPACT_TERMS): Promise<readonly string[]> {
    const all = await find('card')
    const ask = begin('card')
    const notes: string[] = []
    for (const [index, one] of running.entries()) {
      const found = all[index]
      if (!found || notes.length > MAX_NOTES) break
      const place = running.length > 1 ? `Statement ${index + 1}: ` : ''
      if (found.rows !== null) notes.push(`${place}${sayRows(one.named, found.rows, terms)}`)
      else if (changesRows(one)) {
        notes.push(`${place}How many rows ${nameOf(one.named)} would touch is not known: ${found.why}.`)
      }
      if (found.ask && terms.sample > 0) notes.push(...(await showSample(sampleOf(one, found.ask, terms), ask)))
      notes.push(...(await showMore(one, { ask, isCounted: found.rows !== null })))
    }
    const shown = notes.length > MAX_NOTES ? [...notes.slice(0, MAX_NOTES - 1), MORE] : notes
    return shown.map(clean)
  }

  /** What is worth knowing besides the number of rows, or in its place. */
  async function showMore(one: Running, { ask, isCounted }: { ask: Ask; isCounted: boolean }): Promise<string[]> {
    const { named, doing } = one
    if (DEFINES.test(named.tag)) return showDependants(named, ask)
    const notes = isCounted ? await showTriggers(named, ask) : []
    if (named.tag === 'delete') notes.push(...(await showCascades(named, ask)))
    if (isCounted || !PLANNED.has(named.tag) || !mayBePlanned(named)) return notes
    if ((await whyUnseen(named, ask)) !== null) return notes
    return [...notes, ...(await showPlan({ ...paramsOf(doing), sql: named.text }, ask))]
  }

  return {
    rows: async () => (await find('rule')).map(({ rows }) => rows),
    describe,
  }
}

type Asked = Extract<Touched, { readonly ask: object }>

interface Found {
  readonly rows: number | null
  readonly why: string | null
  readonly ask?: Asked
}

/** The OID of `text`. */
const TEXT = 25
const PLANNED: ReadonlySet<string> = new Set(['select', 'insert', 'update', 'delete', 'merge'])
/** What takes away or alters what others may need. */
const DEFINES = /^(drop|alter) |^truncate/

/** EXPLAIN runs nothing, but to plan is to compute what is constant. */
function mayBePlanned({ acts, isOpaque, facts }: Named): boolean {
  return acts.every(({ verb }) => verb !== 'call') && !isOpaque && facts.secrets.length === 0
}

function sampleOf(one: Running, { ask }: Asked, { sample }: ImpactTerms): Question {
  return bind(`${ask.sample} LIMIT ${sample}`, ask, one)
}

/** With the statement's own parameters, as far as the query refers to them. */
function bind(sql: string, { parameters }: Asked['ask'], { doing: { bound } }: Running): Question {
  if (!bound) return { sql }
  const isUsed = bound.values.map((_, index) => parameters.includes(index + 1))
  return {
    sql,
    values: bound.values.map((value, index) => (isUsed[index] ? value : null)),
    // One that the query does not refer to has no type to be inferred.
    parameterTypes: bound.values.map((_, index) => (isUsed[index] ? (bound.parameterTypes[index] ?? 0) : TEXT)),
    formats: bound.formats,
  }
}

function paramsOf({ bound }: Doing): Omit<Question, 'sql'> {
  return bound ? { values: bound.values, parameterTypes: bound.parameterTypes, formats: bound.formats } : {}
}

function nameOf({ tag, resource }: Named): string {
  return `${tag.toUpperCase()} ${resource}`
}

function sayRows(named: Named, rows: number, { tolerances }: ImpactTerms): string {
  const most = mostRows(rows, tolerances)
  return `${nameOf(named)} would touch ${counted(rows, 'row')}. If it turns out to be more than ${most}, it is undone.`
}

/** What the upstream says no with, in few words: its own may quote data. */
function whyOf(code: string | undefined): string {
  if (code === '57014') return 'it took too long'
  if (code === '55P03') return 'it is locked'
  if (code === '42501') return 'the role may not read it'
  return `the upstream refused to say (${code ?? 'no code'})`
}

/** Names and values are the agent's as well as anybody's. */
function clean(note: string): string {
  const visible = makeVisible(cut(note, MAX_NOTE + 1))
  return visible.length > MAX_NOTE ? `${cut(visible, MAX_NOTE)}…` : visible
}
