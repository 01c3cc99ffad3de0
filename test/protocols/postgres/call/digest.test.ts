import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { bind, connectSession, execute, flush, parse, query, type RawSession, sync } from '../raw.ts'
import { type Held, startWorld, type World } from '../world.ts'

let world: World
const sessions: RawSession[] = []

beforeAll(async () => {
  world = await startWorld()
  const admin = new pg.Client({ connectionString: world.adminUrl })
  await admin.connect()
  await admin.query('CREATE TABLE orders (id int PRIMARY KEY, what text)')
  await admin.end()
})
afterAll(() => world.close())
beforeEach(() => {
  world.calls.length = 0
  world.decide = (actions) => (actions.some(({ verb }) => verb === 'delete') ? 'hold' : 'allow')
})
afterEach(() => {
  for (const session of sessions.splice(0)) session.close()
})

type Batch = Parameters<RawSession['send']>

/** What is held of the last of these batches, on a connection of its own, whose client leaves then. */
async function holdLast(batches: readonly Batch[], settings: readonly [string, string][] = []): Promise<Held> {
  const session = await connectSession(world.port, { database: world.database, settings })
  sessions.push(session)
  for (const [index, batch] of batches.entries()) {
    session.send(...batch)
    if (index === batches.length - 1) break
    const last = batch.at(-1)
    if (last === flush) await session.until('bind_complete')
    else expect(await session.story()).not.toContainEqual(expect.stringMatching(/^error/))
  }
  return await world.held()
}

const RETURNING = 'DELETE FROM public.orders WHERE id = $1 RETURNING id'
const OTHER = 'DELETE FROM public.orders WHERE id = 9 RETURNING id'
const begun: Batch = [query('BEGIN')]

/** A session that makes something ready for this number, and runs it by its name. */
const WAYS: [string, (id: string) => Batch[]][] = [
  [
    'EXECUTE of what SQL prepared',
    (id) => [[query(`PREPARE s AS DELETE FROM public.orders WHERE id = ${id}`)], [query('EXECUTE s')]],
  ],
  [
    'EXECUTE of what a message prepared',
    (id) => [[parse(`DELETE FROM public.orders WHERE id = ${id}`, 's'), sync], [query('EXECUTE s')]],
  ],
  [
    'a message that binds what SQL prepared',
    (id) => [
      [query(`PREPARE s AS DELETE FROM public.orders WHERE id = ${id}`)],
      [bind([], { statement: 's' }), execute(), sync],
    ],
  ],
  [
    'FETCH of a portal',
    (id) => [begun, [parse(RETURNING), bind([id], { portal: 'p' }), flush], [sync], [query('FETCH ALL IN p')]],
  ],
  [
    'FETCH of a portal that executes what SQL prepared',
    (id) => [
      [query(`PREPARE s AS DELETE FROM public.orders WHERE id = ${id} RETURNING id`)],
      begun,
      [bind([], { portal: 'p', statement: 's' }), flush],
      [sync],
      [query('DEALLOCATE s')],
      [query(`PREPARE s AS ${OTHER}`)],
      [query('FETCH ALL IN p')],
    ],
  ],
  [
    'a portal that was bound to what SQL had prepared by then',
    (id) => [
      [query(`PREPARE s AS DELETE FROM public.orders WHERE id = ${id}`)],
      begun,
      [bind([], { portal: 'p', statement: 's' }), flush],
      [sync],
      [query('DEALLOCATE s')],
      [query(`PREPARE s AS ${OTHER}`)],
      [execute('p'), sync],
    ],
  ],
  [
    'a portal whose savepoint is undone',
    (id) => [
      begun,
      [parse(RETURNING), bind([id], { portal: 'p' }), flush],
      [sync],
      [query('SAVEPOINT one; ROLLBACK TO one')],
      [execute('p'), sync],
    ],
  ],
]

describe('what was approved under a name is found again', () => {
  test.each(WAYS)('with what the name stood for: %s', async (_name, batches) => {
    const [one, same, other] = [
      await holdLast(batches('1')),
      await holdLast(batches('1')),
      await holdLast(batches('2')),
    ]
    expect(same.sealed.matchKey.equals(one.sealed.matchKey)).toBe(true)
    expect(same.sealed.digest.equals(one.sealed.digest)).toBe(true)
    expect(other.sealed.matchKey.equals(one.sealed.matchKey)).toBe(false)
    expect(other.sealed.digest.equals(one.sealed.digest)).toBe(false)
  })

  test.each(WAYS)('and people see what that is: %s', async (_name, batches) => {
    const { presentation } = await holdLast(batches('1'))
    expect(presentation.payload?.text).toContain('DELETE FROM public.orders WHERE id = ')
    expect(presentation.payload?.text).toMatch(/id = 1|\$1 = "1"/)
  })
})

test('a cursor that is declared with parameters is told from one with others', async () => {
  world.decide = (actions) => (actions.some(({ verb }) => verb === 'fetch') ? 'hold' : 'allow')
  const batches = (id: string): Batch[] => [
    begun,
    [parse('DECLARE c CURSOR FOR SELECT $1::int'), bind([id]), execute(), sync],
    [query('FETCH ALL IN c')],
  ]
  const [one, other] = [await holdLast(batches('1')), await holdLast(batches('2'))]
  expect(other.sealed.matchKey.equals(one.sealed.matchKey)).toBe(false)
  expect(one.presentation.payload?.text).toContain('$1 = "1"')
})

describe('what a session has set is part of what is approved', () => {
  const DELETE: Batch = [query('DELETE FROM public.orders WHERE what = NULL')]

  test.each<[string, Batch[], Batch[]]>([
    ['a setting that row security may read', [[query(`SET app.tenant = '5'`)]], [[query(`SET app.tenant = '6'`)]]],
    [
      'by a function',
      [[query(`SELECT set_config('app.tenant', '5', false)`)]],
      [[query(`SELECT set_config('app.tenant', '6', false)`)]],
    ],
    ['for a transaction', [begun, [query(`SET LOCAL app.tenant = '5'`)]], [begun]],
    ['a setting that gives operators another meaning', [[query('SET transform_null_equals = on')]], []],
  ])('%s', async (_name, some, others) => {
    const [one, same, other] = [
      await holdLast([...some, DELETE]),
      await holdLast([...some, DELETE]),
      await holdLast([...others, DELETE]),
    ]
    expect(same.sealed.digest.equals(one.sealed.digest)).toBe(true)
    expect(other.sealed.matchKey.equals(one.sealed.matchKey)).toBe(false)
    expect(other.sealed.digest.equals(one.sealed.digest)).toBe(false)
  })

  test('and people see it', async () => {
    const { presentation } = await holdLast([[query(`SET app.tenant = '5\n$1 = "6"'`)], DELETE])
    expect(presentation.payload?.text).toContain('"app.tenant" is set to "5\\n$1 = \\"6\\""')
  })

  test.each<[string, Batch[]]>([
    ['what was unset again', [[query('SET transform_null_equals = on')], [query('RESET transform_null_equals')]]],
    ['what ended with its transaction', [begun, [query(`SET LOCAL app.tenant = '5'`)], [query('COMMIT')]]],
    ['what a connection calls itself', [[query(`SET application_name = 'reports-17'`)]]],
  ])('but not %s', async (_name, batches) => {
    const [one, other] = [await holdLast([...batches, DELETE]), await holdLast([DELETE])]
    expect(other.sealed.digest.equals(one.sealed.digest)).toBe(true)
  })
})

test.each<[string, [string, string], Batch[]]>([
  [
    'another way to read days is in force again',
    ['DateStyle', 'SQL, DMY'],
    [
      [query(`SET DateStyle = 'ISO, MDY'`)],
      [query(`RESET DateStyle; DELETE FROM public.orders WHERE what = '1/2/2026'`)],
    ],
  ],
  [
    'another number of digits is in force',
    ['extra_float_digits', '-15'],
    [[query(`DELETE FROM public.orders WHERE what = 0.3::float8::text`)]],
  ],
])('what a client begins with is part of what is approved: %s', async (_name, setting, batches) => {
  const [one, same, other] = [
    await holdLast(batches, [setting]),
    await holdLast(batches, [setting, ['application_name', 'reports-17']]),
    await holdLast(batches),
  ]
  expect(same.sealed.digest.equals(one.sealed.digest)).toBe(true)
  expect(other.sealed.matchKey.equals(one.sealed.matchKey)).toBe(false)
  expect(other.sealed.digest.equals(one.sealed.digest)).toBe(false)
})

describe('what depends on more than can be bound is decided for the call that waits, and no other attaches', () => {
  const cursor = (id: number) => query(`DECLARE c CURSOR FOR SELECT * FROM public.orders WHERE id = ${id} FOR UPDATE`)
  const TAKES = 'DELETE FROM public.orders WHERE CURRENT OF c'
  const temporary = (what: string): Batch[] => [
    [query(`CREATE TEMP VIEW picked AS SELECT ${what} AS id`)],
    [query('DELETE FROM public.orders WHERE id IN (SELECT id FROM pg_temp.picked)')],
  ]
  const fromCode = (tenant: string): Batch[] => [
    [query(`DO $$ BEGIN PERFORM set_config('app.tenant', '${tenant}', false); END $$`)],
    [query('DELETE FROM public.orders')],
  ]
  const below = (tenant: string, last: string): Batch[] => [
    [query(`SET app.tenant = '${tenant}'`)],
    begun,
    [query('SAVEPOINT one')],
    [query(`SET LOCAL app.tenant = '0'`)],
    [query(`${last}; DELETE FROM public.orders`)],
  ]
  const ALONE: [string, Batch[], Batch[]][] = [
    [
      'the row that a cursor stands at',
      [begun, [cursor(1)], [query('FETCH c')], [query(TAKES)]],
      [begun, [cursor(2)], [query('FETCH c')], [query(TAKES)]],
    ],
    [
      'the row that a cursor stands at, by EXECUTE',
      [[query(`PREPARE s AS ${TAKES}`)], begun, [cursor(1)], [query('FETCH c')], [query('EXECUTE s')]],
      [[query(`PREPARE s AS ${TAKES}`)], begun, [cursor(2)], [query('FETCH c')], [query('EXECUTE s')]],
    ],
    ['what is temporary', temporary('1'), temporary('2')],
    ['what code that cannot be seen has set', fromCode('5'), fromCode('6')],
    ['what was set before a transaction that ends', below('5', 'COMMIT'), below('6', 'COMMIT')],
    ['what was set before a savepoint', below('5', 'ROLLBACK TO one'), below('6', 'ROLLBACK TO one')],
    [
      'what was set before a transaction that has failed',
      [
        [query(`SET app.tenant = '5'; BEGIN`)],
        [query('SAVEPOINT one; SET LOCAL app.tenant = 0')],
        [query('ROLLBACK; DELETE FROM public.orders')],
      ],
      [
        [query(`SET app.tenant = '6'; BEGIN`)],
        [query('SAVEPOINT one; SET LOCAL app.tenant = 0')],
        [query('ROLLBACK; DELETE FROM public.orders')],
      ],
    ],
  ]

  test.each(ALONE)('%s', async (_name, some, others) => {
    const [one, other] = [await holdLast(some), await holdLast(others)]
    expect(other.sealed.matchKey.equals(one.sealed.matchKey)).toBe(false)
    expect(other.sealed.digest.equals(one.sealed.digest)).toBe(false)
  })

  test.each<[string, Batch[]]>([
    ['a transaction in one message', [[query('BEGIN; DELETE FROM public.orders; COMMIT')]]],
    ['the end of a transaction', [begun, [query('DELETE FROM public.orders; COMMIT')]]],
    [
      'what something temporary is made of',
      [[query('CREATE TEMP TABLE gone AS WITH d AS (DELETE FROM public.orders RETURNING id) SELECT id FROM d')]],
    ],
  ])('but not %s', async (_name, batches) => {
    const [one, same] = [await holdLast(batches), await holdLast(batches)]
    expect(same.sealed.matchKey.equals(one.sealed.matchKey)).toBe(true)
    expect(same.sealed.digest.equals(one.sealed.digest)).toBe(true)
  })

  test('the call itself runs once it is approved', async () => {
    const { approve, call } = await holdLast(temporary('1'))
    approve()
    await world.recorded(world.calls.length)
    expect(world.calls.find((each) => each.call === call)?.outcome?.name).toBe('forwarded')
  })

  test('a disconnect withdraws it, and so the client is told', async () => {
    const { call } = await holdLast(temporary('1'))
    const hints = (await sessions.at(-1)?.until('notice'))?.flatMap((said) =>
      said.type === 'notice' ? [said.report['H']] : [],
    )
    expect(hints?.at(-1)).toContain('A cancel or a disconnect withdraws it')
    expect(call.whenGone()).toBe('withdraw')
  })

  test('people see which rows the cursor is of', async () => {
    const { presentation } = await holdLast([begun, [cursor(1)], [query('FETCH c')], [query(TAKES)]])
    expect(presentation.payload?.text).toContain('"c" stands for:\n  DECLARE c CURSOR FOR')
  })
})
