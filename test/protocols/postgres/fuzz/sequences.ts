import fc from 'fast-check'
import pg from 'pg'
import type { Actions } from '../../../../src/domain/action.ts'
import { openUpstream } from '../../../../src/protocols/postgres/upstream/open.ts'
import { type Backend, decodeBackend } from '../../../../src/protocols/postgres/wire/backend.ts'
import { encodeFrontend, type Frontend } from '../../../../src/protocols/postgres/wire/frontend.ts'
import {
  bind,
  close,
  connectSession,
  copyData,
  copyDone,
  describeIt,
  execute,
  flush,
  parse,
  query,
  sync,
} from '../raw.ts'
import type { World } from '../world.ts'

/** What the numbers mean is up to the kind of thing that is done. */
interface Numbers {
  /** The statement's number: its marker. */
  readonly marker: number
  readonly a: number
  readonly b: number
}

/** One thing a client does. */
export interface Op extends Numbers {
  readonly kind: keyof typeof SCRIPTS
}

const MARKERS = 24
/** Policy forbids what touches these. */
const isForbidden = (marker: number) => marker % 6 === 5

/** SQL and messages share their names. */
const STATEMENTS = ['', 's', 't'] as const
const PORTALS = ['', 'p', 'q'] as const

/**
 * Each statement says by a sequence of its own that it ran, how often, and whatever becomes of its transaction; the
 * sequence is also read as a relation, so that whoever judges it has to name it.
 */
const FORMS: readonly ((marker: string) => string)[] = [
  (m) => `SELECT nextval('public.${m}') AS n FROM public.${m}`,
  (m) => `SELECT g, nextval('public.${m}') FROM public.${m}, generate_series(1, 4) g`,
  (m) => `INSERT INTO public.notes SELECT nextval('public.${m}'), 'x' FROM public.${m}`,
  (m) => `WITH w AS (INSERT INTO notes SELECT nextval('public.${m}') FROM ${m} RETURNING id) SELECT id FROM w`,
  (m) => `SELECT nextval('public.${m}') + public.nothing() FROM ${m}`,
  (m) => `SELECT 'ü\\' || nextval('public.${m}') FROM ${m}`,
  (m) => `SELECT nextval('public.${m}') / 0 FROM public.${m}`,
]
const FAILING = FORMS.length - 1

type Script = (op: Numbers) => readonly Frontend[]

const at = <T>(items: readonly [T, ...T[]], index: number): T => items[index % items.length] ?? items[0]
const named = (items: readonly string[], index: number) => items[1 + (index % (items.length - 1))] ?? ''
const sqlOf = ({ marker, a }: Numbers, forms = FORMS.length) =>
  (FORMS[a % forms] as (typeof FORMS)[number])(`m${marker % MARKERS}`)
const ask = (sql: string): readonly Frontend[] => [query(sql)]

/** A batch ends with one of these, or goes on. */
const END = [[sync], [sync], [sync], [flush], []] as const

const SCRIPTS = {
  run: (op) => ask(sqlOf(op)),
  run_two: (op) => ask(`${sqlOf(op)}; ${sqlOf({ ...op, marker: op.marker + 1, a: op.b })}`),
  begin: () => ask('BEGIN'),
  commit: ({ a }) => ask(at(['COMMIT', 'COMMIT', 'COMMIT AND CHAIN', 'END'], a)),
  rollback: ({ a }) => ask(at(['ROLLBACK', 'ROLLBACK', 'ROLLBACK AND CHAIN'], a)),
  savepoint: ({ a }) => ask(`SAVEPOINT ${at(['x', 'y'], a)}`),
  rollback_to: ({ a }) => ask(`ROLLBACK TO ${at(['x', 'y'], a)}`),
  release: ({ a }) => ask(`RELEASE ${at(['x', 'y'], a)}`),
  within: (op) => ask(`BEGIN; ${sqlOf(op, FAILING)}; COMMIT`),
  prepare: (op) => ask(`PREPARE ${named(STATEMENTS, op.b)} AS ${sqlOf(op)}`),
  execute: ({ a }) => ask(`EXECUTE ${named(STATEMENTS, a)}`),
  explain: ({ a }) =>
    ask(`EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF) EXECUTE ${named(STATEMENTS, a)}`),
  deallocate: ({ a }) => ask(at(['DEALLOCATE s', 'DEALLOCATE t', 'DEALLOCATE ALL'], a)),
  declare: (op) =>
    ask(`DECLARE ${named(PORTALS, op.b)} CURSOR ${op.b > 3 ? 'WITH HOLD ' : ''}FOR ${sqlOf({ ...op, a: op.a % 2 })}`),
  fetch: ({ a, b }) => ask(`${at(['FETCH 1 FROM', 'FETCH ALL IN', 'MOVE 1 FROM'], b)} ${named(PORTALS, a)}`),
  close_cursor: ({ a }) => ask(at(['CLOSE p', 'CLOSE q', 'CLOSE ALL'], a)),
  discard: ({ a }) => ask(at(['DISCARD ALL', 'DISCARD PLANS', 'DISCARD TEMP', 'RESET ALL'], a)),
  path: ({ a }) =>
    ask(
      at(
        ['SET search_path TO other, public', 'SET LOCAL search_path TO other', 'RESET search_path', 'SHOW search_path'],
        a,
      ),
    ),
  temporary: ({ a }) =>
    ask(at(['CREATE TEMP TABLE IF NOT EXISTS notes (id int)', 'DROP TABLE IF EXISTS pg_temp.notes'], a)),
  code: ({ a }) => ask(at(['DO $$ BEGIN END $$', `DO $$ BEGIN RAISE 'no'; END $$`, 'SELECT public.nothing()'], a)),
  empty: ({ a }) => ask(at(['', '-- nothing', 'SELEC', 'SELECT 1/0'], a)),
  copy_out: ({ marker }) => ask(`COPY (${(FORMS[1] as (typeof FORMS)[number])(`m${marker % MARKERS}`)}) TO STDOUT`),
  copy_in: () => ask('COPY public.notes FROM STDIN'),
  copy_in_extended: () => [parse('COPY public.notes FROM STDIN'), bind(), execute(), sync],
  parse: (op) => [parse(sqlOf(op), at(STATEMENTS, op.b)), ...at(END, op.b)],
  bind: ({ a, b, marker }) => [
    bind([], { statement: at(STATEMENTS, a), portal: at(PORTALS, b) }),
    ...at([[], [execute(at(PORTALS, b), marker % 3)]], marker),
    ...at(END, marker >> 1),
  ],
  run_portal: ({ a, b, marker }) => [execute(at(PORTALS, a), b % 3), ...at(END, marker)],
  whole: (op) => [
    parse(sqlOf(op)),
    bind(),
    ...at([[], [describeIt('portal')]], op.b),
    execute('', op.b % 3),
    ...at(END, op.b),
  ],
  pipeline: (op) => [
    ...[parse(sqlOf(op, FAILING), 's'), bind([], { statement: 's' }), execute()],
    ...[bind([], { statement: 's' }), execute()],
    ...[parse(sqlOf({ ...op, marker: op.marker + 1, a: op.b })), bind(), execute(), ...at(END, op.b)],
  ],
  describe: ({ a, b }) => [
    a % 2 === 0 ? describeIt('statement', at(STATEMENTS, b)) : describeIt('portal', at(PORTALS, b)),
    ...at(END, a),
  ],
  close: ({ a, b }) => [
    a % 2 === 0 ? close('statement', at(STATEMENTS, b)) : close('portal', at(PORTALS, b)),
    ...at(END, a),
  ],
  sync: () => [sync],
} satisfies Readonly<Record<string, Script>>

const small = fc.nat({ max: 11 })
export const ops: fc.Arbitrary<Op[]> = fc.array(
  fc.record({
    kind: fc.constantFrom(...(Object.keys(SCRIPTS) as Op['kind'][])),
    marker: fc.nat({ max: MARKERS - 1 }),
    a: small,
    b: small,
  }),
  { minLength: 3, maxLength: 25 },
)

interface Side {
  send(messages: readonly Frontend[]): void
  next(): Promise<Backend | null>
  close(): void
}

export interface Comparison {
  /** Plays one session through the gateway and one past it; throws where they differ. */
  play(sequence: readonly Op[]): Promise<void>
  /** How many batches were answered alike, were refused by policy, and for names that there are none of. */
  readonly counts: { alike: number; forbidden: number; unknown: number; uncertain: number; ran: number }
  close(): Promise<void>
}

const SETUP = `CREATE TABLE notes (id bigint, what text);
  CREATE SCHEMA other; CREATE TABLE other.notes (id bigint, what text);
  CREATE FUNCTION public.nothing() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 0; END';
  ${Array.from({ length: MARKERS }, (_, index) => `CREATE SEQUENCE public.m${index};`).join('')}`
const RESET = `DELETE FROM notes; DELETE FROM other.notes;
  SELECT ${Array.from({ length: MARKERS }, (_, index) => `setval('public.m${index}', 1, false)`).join(', ')}`
const RAN = Array.from(
  { length: MARKERS },
  (_, index) =>
    `SELECT ${index} AS marker, CASE WHEN is_called THEN last_value ELSE 0 END::int AS times FROM public.m${index}`,
).join(' UNION ALL ')

/**
 * @param world a gateway and the database behind it
 * @param directUrl another database of the same server, with nothing in it
 */
export async function startComparison(world: World, directUrl: string): Promise<Comparison> {
  const behind = new pg.Client({ connectionString: world.adminUrl })
  const direct = new pg.Client({ connectionString: directUrl })
  await Promise.all([behind.connect(), direct.connect()])
  await Promise.all([behind.query(SETUP), direct.query(SETUP)])
  const counts = { alike: 0, forbidden: 0, unknown: 0, uncertain: 0, ran: 0 }
  const allowed = new Set<number>()
  world.decide = (actions) => {
    const markers = markersOf(actions)
    if (markers.some(isForbidden)) return 'deny'
    for (const marker of markers) allowed.add(marker)
    return 'allow'
  }

  async function play(sequence: readonly Op[]): Promise<void> {
    await Promise.all([behind.query(RESET), direct.query(RESET)])
    allowed.clear()
    world.calls.length = 0
    const through = await connectThrough(world)
    const past = await connectPast(directUrl)
    const sides = { through, past }
    try {
      const session: Session = { pending: [], isFlushed: false, wasOpen: false, isSkipping: false, counts }
      for (const op of sequence) await step(SCRIPTS[op.kind](op), sides, session)
      await step([sync], sides, session)
    } finally {
      through.close()
      past.close()
    }
    await compareRuns()
  }

  async function compareRuns(): Promise<void> {
    const [there, here] = await Promise.all([behind, direct].map(async (client) => (await client.query(RAN)).rows))
    if (JSON.stringify(there) !== JSON.stringify(here)) {
      throw new Error(`ran through the gateway ${JSON.stringify(there)}, and directly ${JSON.stringify(here)}`)
    }
    for (const { marker, times } of there as { marker: number; times: number }[]) {
      counts.ran += times
      if (times === 0) continue
      if (isForbidden(marker)) throw new Error(`m${marker} is forbidden, and ran`)
      if (!allowed.has(marker)) throw new Error(`m${marker} was not judged, and ran`)
    }
  }

  return {
    play,
    counts,
    async close() {
      await Promise.all([behind.end(), direct.end()])
    },
  }
}

function markersOf(actions: Actions): number[] {
  const tables = new Set(actions.flatMap(({ facts }) => facts['tables'] as readonly string[]))
  return [...tables].flatMap((table) => {
    const marker = /^public\.m(\d+)$/.exec(table)?.[1]
    return marker === undefined ? [] : [Number(marker)]
  })
}

async function connectThrough(world: World): Promise<Side> {
  const { send, next, close: end } = await connectSession(world.port, { database: world.database })
  return { send: (messages) => send(...messages), next, close: end }
}

/** As the gateway connects: with the same role, in a session with the same settings. */
async function connectPast(directUrl: string): Promise<Side> {
  const url = new URL(directUrl)
  const target = { host: url.hostname, port: Number(url.port), tls: null, connectTimeoutMs: 10_000 }
  const { link } = await openUpstream(
    target,
    {
      user: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
      database: url.pathname.slice(1),
      settings: new Map([['client_encoding', 'UTF8']]),
    },
    new AbortController().signal,
  )
  return {
    send: (messages) => link.write(Buffer.concat(messages.map(encodeFrontend))),
    async next() {
      const frame = await link.next()
      return frame?.kind === 'message' ? decodeBackend(frame.bytes) : null
    },
    close: () => link.destroy(),
  }
}

interface Session {
  /** Messages that no Sync or Flush was sent behind yet. */
  pending: Frontend[]
  /** The last one ended with a Flush. */
  isFlushed: boolean
  /** The one before it did. */
  wasOpen: boolean
  /** After an error both sides drop everything up to the Sync. */
  isSkipping: boolean
  readonly counts: Comparison['counts']
}

/** Sends the next messages to both, once they make a batch. */
async function step(
  messages: readonly Frontend[],
  { through, past }: { readonly through: Side; readonly past: Side },
  session: Session,
): Promise<void> {
  const isQuery = messages[0]?.type === 'query'
  // No client sends a query before the Sync; the gateway takes none amid a batch.
  if (isQuery && (session.pending.length > 0 || session.isFlushed)) await step([sync], { through, past }, session)
  session.pending.push(...messages)
  const last = session.pending.at(-1)?.type
  if (last !== 'sync' && last !== 'flush' && last !== 'query') return
  const batch = session.pending
  session.pending = []
  session.wasOpen = session.isFlushed
  session.isFlushed = last === 'flush'
  const wasSkipping = session.isSkipping

  through.send(batch)
  const answer = await hear(through, batch, wasSkipping)
  const refusal = answer.find((each) => each.type === 'error' && !('R' in each.report))
  if (refusal?.type === 'error') {
    // Whatever came before it in the batch was not done either: as if its first message were no SQL.
    if (answer[0] !== refusal) throw new Error(`refused in the middle: ${JSON.stringify(answer)}`)
    const code = refusal.report['C'] ?? ''
    if (code === '26000' || code === '34000') await checkMissing(past, batch, session)
    const broken = [parse('not executed', 'no_such_name'), last === 'flush' ? flush : sync]
    past.send(broken)
    const expected = await hear(past, broken, wasSkipping)
    same(endOf(answer), endOf(expected), { batch, answer, expected })
    noteRefusal(code, session)
  } else {
    past.send(batch)
    const expected = await hear(past, batch, wasSkipping)
    same(answer, expected, { batch, answer, expected })
    session.counts.alike += 1
  }
  const hasFailed = answer.some(({ type }) => type === 'error')
  session.isSkipping = last === 'flush' ? wasSkipping || hasFailed : last === 'query' && wasSkipping
}

function noteRefusal(code: string, { counts }: Session): void {
  if (code === '42501') counts.forbidden += 1
  else if (code === '26000' || code === '34000' || code === '42601') counts.unknown += 1
  else if (code === '0A000' || code === '25P02') counts.uncertain += 1
  else throw new Error(`refused with ${code}`)
}

/** Where the gateway says that there is no such name, the server does not know it either. */
async function checkMissing(past: Side, batch: readonly Frontend[], session: Session): Promise<void> {
  const probe = [
    parse(`SELECT 's ' || name FROM pg_prepared_statements UNION ALL SELECT 'p ' || name FROM pg_cursors`, 'probe'),
    ...[bind([], { statement: 'probe', portal: 'probe' }), execute('probe')],
    ...[close('portal', 'probe'), close('statement', 'probe'), session.wasOpen ? flush : sync],
  ]
  past.send(probe)
  const told = await hear(past, probe, false)
  // In a transaction that has failed nothing can be asked.
  if (told.some(({ type }) => type === 'error')) {
    if (session.wasOpen) throw new Error('the probe failed amid a batch')
    return
  }
  const known = new Set(told.flatMap((each) => (each.type === 'data_row' ? String(each.values[0]) : [])))
  for (const message of batch) {
    if (message.type === 'parse') known.add(`s ${message.statement}`)
    if (message.type === 'bind') {
      if (!known.has(`s ${message.statement}`)) return
      known.add(`p ${message.portal}`)
    }
    if (message.type === 'execute' && !known.has(`p ${message.portal}`)) return
    if (message.type === 'query') {
      const [, statement, cursor] = /EXECUTE (\w+)|(?:FETCH|MOVE) \w+ \w+ (\w+)/.exec(message.sql) ?? []
      if (!known.has(statement === undefined ? `p ${cursor}` : `s ${statement}`)) return
    }
  }
  throw new Error(`there is every name of ${plain(batch)}: ${[...known].join(', ')}`)
}

function endOf(answer: readonly Backend[]): unknown {
  const last = answer.at(-1)
  return last?.type === 'ready' ? last : 'an error'
}

function same(a: unknown, b: unknown, about: object): void {
  if (plain(a) !== plain(b)) throw new Error(`not alike: ${plain(about)}`)
}

/** Numbers of relations are a database's own; values are shown as text. */
function plain(value: unknown): string {
  return JSON.stringify(
    value,
    (key, inner: unknown) => {
      if (key === 'table') return Math.min(Number(inner), 1)
      return isBuffer(inner) ? Buffer.from(inner.data).toString('latin1') : inner
    },
    1,
  )
}

function isBuffer(value: unknown): value is { readonly data: readonly number[] } {
  return typeof value === 'object' && value !== null && 'type' in value && value.type === 'Buffer'
}

/** What a batch is answered with. Data of a copy is sent when it is asked for. */
async function hear(side: Side, batch: readonly Frontend[], isSkipping: boolean): Promise<Backend[]> {
  const answers: Backend[] = []
  const last = batch.at(-1)?.type
  if (isSkipping && last !== 'sync') return answers
  // A Flush has no answer of its own: as many ends of answers are awaited as there are messages before it.
  let awaited = last === 'flush' ? batch.length - 1 : Number.POSITIVE_INFINITY
  while (awaited > 0) {
    const message = await side.next()
    if (message === null) throw new Error(`closed, after ${JSON.stringify(answers)}`)
    answers.push(message)
    if (message.type === 'copy_in') {
      side.send([copyData('7\tseven\n'), copyDone, ...(last === 'sync' ? [sync] : [])])
    }
    if (message.type === 'ready') break
    if (ENDS.has(message.type)) awaited -= 1
    if (message.type === 'error' && last === 'flush') break
    // A description of a statement has two parts, of which the second counts; rows of a portal have none.
  }
  return answers
}

const ENDS: ReadonlySet<Backend['type']> = new Set([
  'parse_complete',
  'bind_complete',
  'close_complete',
  'row_description',
  'no_data',
  'command_complete',
  'empty_query',
  'portal_suspended',
])
