import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { encodeMessage } from '../../../src/protocols/postgres/wire/fields.ts'
import { encodeFrontend } from '../../../src/protocols/postgres/wire/frontend.ts'
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
  type RawSession,
  sync,
} from './raw.ts'
import { startWorld, type World } from './world.ts'

let world: World
const sessions: RawSession[] = []

beforeAll(async () => {
  world = await startWorld()
  await asAdmin('CREATE TABLE orders (id int PRIMARY KEY, what text)')
})
afterAll(() => world.close())
beforeEach(() => {
  world.calls.length = 0
  world.decide = () => 'allow'
})
afterEach(async () => {
  for (const session of sessions.splice(0)) session.close()
  await asAdmin('TRUNCATE orders')
})

async function asAdmin(sql: string): Promise<unknown[]> {
  const admin = new pg.Client({ connectionString: world.adminUrl })
  await admin.connect()
  try {
    const { rows } = await admin.query(sql)
    return rows
  } finally {
    await admin.end()
  }
}

async function begin(minor = 0): Promise<RawSession> {
  const session = await connectSession(world.port, { database: world.database, minor })
  sessions.push(session)
  return session
}

const forbid = (verb: string) => {
  world.decide = (actions) => (actions.some((action) => action.verb === verb) ? 'deny' : 'allow')
}
const judged = () => world.calls.map(({ actions }) => actions?.map(({ verb, resource }) => `${verb} ${resource}`))
const orders = () => asAdmin('SELECT id FROM orders ORDER BY id')

describe('a session begins', () => {
  test('with settings, a key of the gateway, and ready', async () => {
    for (const [minor, secretBytes] of [
      [0, 4],
      [2, 32],
    ] as const) {
      const { beginning } = await begin(minor)
      expect(beginning.at(0)).toEqual({ type: 'authentication', asks: { method: 'ok' } })
      expect(beginning.find(({ type }) => type === 'backend_key')).toMatchObject({
        secret: expect.objectContaining({ length: secretBytes }),
      })
      expect(beginning).toContainEqual({ type: 'parameter_status', name: 'client_encoding', value: 'UTF8' })
      expect(beginning.at(-1)).toEqual({ type: 'ready', status: 'I' })
    }
  })

  test('not with a database there is none of', async () => {
    const session = await connectSession(world.port, { database: 'nowhere' })
    expect(session.beginning).toMatchObject([{ type: 'error', report: { S: 'FATAL', C: '3D000' } }])
  })
})

describe('the extended protocol', () => {
  test('a batch is one call with an action for each statement that runs', async () => {
    const session = await begin()
    session.send(
      parse('INSERT INTO orders VALUES ($1)'),
      bind(['1']),
      execute(),
      bind(['2']),
      execute(),
      parse('SELECT id FROM orders'),
      describeIt('statement'),
      bind(),
      execute(),
      sync,
    )
    expect(await session.story()).toEqual([
      ...['parse_complete', 'bind_complete', 'INSERT 0 1', 'bind_complete', 'INSERT 0 1'],
      ...['parse_complete', 'parameter_description', 'row_description', 'bind_complete', 'row 1', 'row 2', 'SELECT 2'],
      'ready I',
    ])
    expect(judged()).toEqual([['insert public.orders', 'select public.orders']])
  })

  test('a portal gives its rows in parts', async () => {
    const session = await begin()
    session.send(query('BEGIN'))
    await session.until('ready')
    session.send(parse('SELECT generate_series(1, 5)'), bind([], { portal: 'p' }), execute('p', 2), flush)
    expect(await session.story('portal_suspended')).toEqual([
      'parse_complete',
      'bind_complete',
      'row 1',
      'row 2',
      'portal_suspended',
    ])
    session.send(execute('p', 2), execute('p'), sync)
    expect(await session.story()).toEqual(['row 3', 'row 4', 'portal_suspended', 'row 5', 'SELECT 1', 'ready T'])
    expect(judged()).toHaveLength(3)
  })

  test('a client waits for a description before it goes on', async () => {
    const session = await begin()
    session.send(parse('SELECT $1::int', 's'), describeIt('statement', 's'), flush)
    expect(await session.story('row_description')).toEqual([
      'parse_complete',
      'parameter_description',
      'row_description',
    ])
    session.send(bind(['7'], { statement: 's' }), execute(), sync)
    expect(await session.story()).toEqual(['bind_complete', 'row 7', 'SELECT 1', 'ready I'])
    expect(judged().map((each) => each?.[0]?.split(' ')[0])).toEqual(['prepare', 'select'])
  })

  test('what was only parsed does not make a transaction block of what follows', async () => {
    const session = await begin()
    session.send(parse('SELECT 1', 's'), flush)
    expect(await session.story('parse_complete')).toEqual(['parse_complete'])
    session.send(parse('VACUUM orders'), bind(), execute(), sync)
    expect(await session.story()).toEqual(['parse_complete', 'bind_complete', 'VACUUM', 'ready I'])
  })

  test('batches that are sent without waiting are answered in order', async () => {
    forbid('delete')
    const session = await begin()
    session.send(parse('SELECT 1'), bind(), execute(), sync)
    session.send(parse('DELETE FROM orders'), bind(), execute(), sync)
    session.send(query('SELECT 2'))
    expect(await session.story()).toEqual(['parse_complete', 'bind_complete', 'row 1', 'SELECT 1', 'ready I'])
    expect(await session.story()).toEqual(['error 42501', 'ready I'])
    expect(await session.story()).toEqual(['row_description', 'row 2', 'SELECT 1', 'ready I'])
  })

  test('after an error of the upstream everything up to the Sync is dropped', async () => {
    const session = await begin()
    session.send(parse('SELECT 1/0'), bind(), execute(), flush)
    expect(await session.story('error')).toEqual(['parse_complete', 'error 22012'])
    session.send(
      parse('INSERT INTO orders VALUES (3)'),
      bind(),
      execute(),
      flush,
      query('INSERT INTO orders VALUES (4)'),
    )
    session.send(sync)
    expect(await session.story()).toEqual(['ready I'])
    expect(await orders()).toEqual([])
  })

  test('a refusal after a Flush undoes what came before it in the batch', async () => {
    forbid('delete')
    const session = await begin()
    session.send(parse('INSERT INTO orders VALUES (5)'), bind(), execute(), flush)
    expect(await session.story('command_complete')).toEqual(['parse_complete', 'bind_complete', 'INSERT 0 1'])
    session.send(parse('DELETE FROM orders'), bind(), execute(), flush)
    expect(await session.story('error')).toEqual(['error 42501'])
    session.send(parse('INSERT INTO orders VALUES (6)'), bind(), execute(), sync)
    expect(await session.story()).toEqual(['ready I'])
    expect(await orders()).toEqual([])
  })
})

describe('what is judged is what runs', () => {
  test.each<[string, Parameters<RawSession['send']>]>([
    [
      'another statement under the same name',
      [
        parse('SELECT 1', 's'),
        close('statement', 's'),
        parse('DELETE FROM orders', 's'),
        bind([], { statement: 's' }),
        execute(),
        sync,
      ],
    ],
    ['a second unnamed statement', [parse('SELECT 1'), parse('DELETE FROM orders'), bind(), execute(), sync]],
    [
      'a portal that is bound anew',
      [
        parse('SELECT 1', 'a'),
        parse('DELETE FROM orders', 'b'),
        bind([], { statement: 'a' }),
        bind([], { statement: 'b' }),
        execute(),
        sync,
      ],
    ],
    ['a statement that SQL prepared, executed by SQL', [query('PREPARE x AS DELETE FROM orders'), query('EXECUTE x')]],
    [
      'a statement that SQL prepared, bound by a message',
      [query('PREPARE y AS DELETE FROM orders'), bind([], { statement: 'y' }), execute(), sync],
    ],
    [
      'a statement that a message prepared, executed by SQL',
      [parse('DELETE FROM orders', 'z'), sync, query('EXECUTE z')],
    ],
    ['two statements in one', [query('SELECT 1; DELETE FROM orders')]],
    ['one within another', [query('WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d')]],
  ])('%s', async (_name, messages) => {
    await asAdmin('INSERT INTO orders VALUES (1)')
    world.decide = (actions) => (actions.some(({ verb }) => verb === 'delete') ? 'deny' : 'allow')
    const session = await begin()
    session.send(...messages)
    const ends = messages.filter(
      (each) => !Buffer.isBuffer(each) && (each.type === 'sync' || each.type === 'query'),
    ).length
    const story: string[] = []
    for (let index = 0; index < ends; index++) story.push(...(await session.story()))
    expect(story).toContain('error 42501')
    expect(await orders()).toEqual([{ id: 1 }])
  })

  test('a portal is what it was bound to, and what its names mean once it runs', async () => {
    await asAdmin('CREATE SCHEMA other; CREATE TABLE other.orders (id int)')
    await asAdmin(`INSERT INTO orders VALUES (1, 'x')`)
    const session = await begin()
    session.send(query('BEGIN'), parse('SELECT id FROM orders'), bind([], { portal: 'p' }), sync)
    await session.until('ready')
    await session.until('ready')
    session.send(query('SET LOCAL search_path TO other'))
    await session.until('ready')
    session.send(execute('p'), sync)
    expect(await session.story()).toEqual(['row 1', 'SELECT 1', 'ready T'])
    expect(judged().at(-1)).toEqual(['select public.orders', 'select other.orders'])
    await asAdmin('DROP SCHEMA other CASCADE')
  })

  test('a call of a function without SQL is refused', async () => {
    const session = await begin()
    session.send({ type: 'function_call', function: 1, formats: [], values: [], resultFormat: 'text' })
    expect(await session.story()).toEqual(['error 0A000', 'ready I'])
  })

  test('a portal and a statement there are none of are the client’s error', async () => {
    const session = await begin()
    session.send(execute('nothing'), sync)
    expect(await session.story()).toEqual(['error 34000', 'ready I'])
    session.send(bind([], { statement: 'nothing' }), execute(), sync)
    expect(await session.story()).toEqual(['error 26000', 'ready I'])
  })

  test('names of the gateway’s own are not to be had', async () => {
    const session = await begin()
    session.send(parse('SELECT 1', '_countersign'), sync)
    expect(await session.story()).toEqual(['error 42939', 'ready I'])
  })

  test('a NUL hides nothing', async () => {
    const session = await begin()
    session.send(encodeMessage('Q', [{ bytes: Buffer.from('SELECT 1;\0 DELETE FROM orders\0') }]))
    expect(await session.story()).toEqual(['error 08P01'])
  })

  test('the two query protocols are not mixed in one batch', async () => {
    const session = await begin()
    session.send(parse('SELECT 1'), query('SELECT 2'))
    expect(await session.story()).toEqual(['error 08P01'])
  })
})

describe('COPY', () => {
  test('out', async () => {
    const session = await begin()
    session.send(query('COPY (SELECT generate_series(1, 3)) TO STDOUT'))
    expect(await session.story()).toEqual([
      'copy_out',
      'copied 1',
      'copied 2',
      'copied 3',
      'copy_done',
      'COPY 3',
      'ready I',
    ])
  })

  test('in, by a simple query', async () => {
    const session = await begin()
    session.send(query('COPY orders FROM STDIN'))
    expect(await session.story('copy_in')).toEqual(['copy_in'])
    session.send(copyData('1\tone\n2\t'), copyData('two\n'), copyDone)
    expect(await session.story()).toEqual(['COPY 2', 'ready I'])
    await world.recorded(1)
    expect(world.calls[0]?.outcome).toMatchObject({
      name: 'forwarded',
      requestHash: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
    expect(await orders()).toEqual([{ id: 1 }, { id: 2 }])
  })

  test.each([true, false])('in, twice in one message; its data sent at once: %s', async (isAtOnce) => {
    const session = await begin()
    const first = [copyData('1\tone\n'), copyDone]
    const second = [copyData('2\ttwo\n'), copyDone]
    session.send(query('COPY orders FROM STDIN; COPY orders FROM STDIN'), ...(isAtOnce ? [...first, ...second] : []))
    expect(await session.story('copy_in')).toEqual(['copy_in'])
    if (!isAtOnce) session.send(...first)
    expect(await session.story('copy_in')).toEqual(['COPY 1', 'copy_in'])
    if (!isAtOnce) session.send(...second)
    expect(await session.story()).toEqual(['COPY 1', 'ready I'])
    expect(await orders()).toEqual([{ id: 1 }, { id: 2 }])
  })

  test('in, by the extended protocol, whose first Sync is a part of the copy', async () => {
    const session = await begin()
    session.send(parse('COPY orders FROM STDIN'), bind(), execute(), sync)
    expect(await session.story('copy_in')).toEqual(['parse_complete', 'bind_complete', 'copy_in'])
    session.send(copyData('3\tx\n'), copyDone, sync)
    expect(await session.story()).toEqual(['COPY 1', 'ready I'])
    session.send(query('SELECT 1'))
    expect((await session.story()).at(-1)).toBe('ready I')
    expect(await orders()).toEqual([{ id: 3 }])
  })

  test('in, by the extended protocol, which fails before it takes any data', async () => {
    const session = await begin()
    session.send(query('CREATE TEMP VIEW seen AS SELECT 1 AS one'))
    await session.until('ready')
    session.send(parse('COPY seen FROM STDIN'), bind(), execute(), sync)
    expect(await session.story('error')).toEqual(['parse_complete', 'bind_complete', 'copy_in', 'error 42809'])
    // As libpq goes on; a server may be ready twice.
    session.send(copyDone, sync)
    await session.until('ready')
    session.send(query('SELECT 5'))
    expect((await session.story('command_complete')).slice(-2)).toEqual(['row 5', 'SELECT 1'])
  })

  test('in, by the extended protocol, which fails before it begins', async () => {
    const session = await begin()
    session.send(parse('COPY public.nowhere FROM STDIN'), bind(), execute(), sync)
    expect(await session.story()).toEqual(['parse_complete', 'bind_complete', 'error 42P01', 'ready I'])
  })

  test('in, given up by the client', async () => {
    const session = await begin()
    session.send(query('COPY orders FROM STDIN'))
    await session.until('copy_in')
    session.send(copyData('1\tone\n'), { type: 'copy_fail', reason: 'no' })
    expect(await session.story()).toEqual(['error 57014', 'ready I'])
    expect(await orders()).toEqual([])
  })

  test('in, refused before anything is asked of the client', async () => {
    forbid('copy')
    world.decide = () => 'deny'
    const session = await begin()
    session.send(query('COPY orders FROM STDIN'), copyData('1\tone\n'), copyDone)
    expect(await session.story()).toEqual(['error 42501', 'ready I'])
    world.decide = () => 'allow'
    session.send(query('SELECT 1'))
    expect((await session.story()).at(-1)).toBe('ready I')
    expect(await orders()).toEqual([])
  })

  test('what follows a copy that failed amid a message is not read as the rest of that message', async () => {
    const session = await begin()
    session.send(query('COPY orders FROM STDIN'))
    await session.until('copy_in')
    const large = encodeFrontend(copyData(`4\t${'x'.repeat(3_000_000)}\n`))
    // The first message makes it fail; of the second only a part has come by then.
    session.send(copyData('no number\tx\n'), large.subarray(0, 1_000_000))
    expect(await session.story('error')).toEqual(['error 22P02'])
    session.send(large.subarray(1_000_000), copyDone)
    expect(await session.story()).toEqual(['ready I'])
    session.send(query('INSERT INTO orders VALUES (7)'))
    expect(await session.story()).toEqual(['INSERT 0 1', 'ready I'])
    expect(await orders()).toEqual([{ id: 7 }])
    expect(judged().at(-1)).toContain('insert public.orders')
  })

  test('anything else amid a copy ends the session', async () => {
    const session = await begin()
    session.send(query('COPY orders FROM STDIN'))
    await session.until('copy_in')
    session.send(query('DELETE FROM orders'))
    expect(await session.story()).toEqual(['error 08P01'])
  })
})

describe('bytes that are no messages end the session with a reason', () => {
  test.each<[string, Buffer]>([
    ['a type there is none of', encodeMessage('!', [])],
    ['a length that does not hold itself', Buffer.from([0x51, 0, 0, 0, 3])],
    ['a password nobody asked for', encodeMessage('p', [{ text: 'good' }])],
    ['a text that is not UTF-8', encodeMessage('Q', [{ bytes: Buffer.from([0xff, 0]) }])],
    ['a query larger than it may be', encodeMessage('Q', [{ text: ' '.repeat(4 * 1024 * 1024) }])],
  ])('%s', async (_name, bytes) => {
    const session = await begin()
    session.send(bytes)
    expect((await session.story())[0]).toMatch(/^error (08P01|54000)$/)
  })

  test('a batch without an end is larger than it may be, at some point', async () => {
    const session = await begin()
    const many = Buffer.concat(Array.from({ length: 1000 }, () => encodeFrontend(describeIt('portal'))))
    for (let index = 0; index < 20; index++) session.send(many)
    expect(await session.story()).toEqual(['error 54000'])
    expect(world.calls).toEqual([])
  })
})

describe('names that SQL and messages share', () => {
  test('a statement that SQL prepares takes the place of one that code dropped unseen', async () => {
    await asAdmin('INSERT INTO orders VALUES (1)')
    forbid('delete')
    const session = await begin()
    session.send(parse('SELECT 1', 's'), sync)
    await session.until('ready')
    session.send(query(`DO $$ BEGIN EXECUTE 'DEALLOCATE s'; EXECUTE 'PREPARE s AS DELETE FROM orders'; END $$`))
    await session.until('ready')
    session.send(bind([], { statement: 's' }), execute(), sync)
    expect(await session.story()).toEqual(['error 26000', 'ready I'])
    expect(await orders()).toEqual([{ id: 1 }])
  })

  test('a cursor takes the place of a portal of its name', async () => {
    await asAdmin('INSERT INTO orders VALUES (1)')
    const session = await begin()
    session.send(query('BEGIN; SAVEPOINT a'))
    await session.until('ready')
    session.send(parse('SELECT 1'), bind([], { portal: 'c' }), sync)
    await session.until('ready')
    session.send(query('ROLLBACK TO a; DECLARE c CURSOR FOR SELECT id FROM orders'))
    await session.until('ready')
    world.calls.length = 0
    session.send(execute('c'), sync)
    expect(await session.story()).toEqual(['row 1', 'SELECT 1', 'ready T'])
    expect(judged().flat()).toContain('select public.orders')
  })
})
