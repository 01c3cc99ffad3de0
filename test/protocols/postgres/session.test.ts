import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { refuse } from '../../../src/domain/refusal.ts'
import { bind, connectSession, execute, flush, parse, query, type RawSession, sync } from './raw.ts'
import { startWorld, type World } from './world.ts'

let world: World
const clients: pg.Client[] = []

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
  world.decide = () => 'allow'
  world.spendBytes = () => true
  world.spendRows = () => true
})
afterEach(async () => {
  await Promise.all(clients.splice(0).map((client) => client.end().catch(() => {})))
})

async function connect(more: Record<string, string> = {}): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: world.url(more) })
  client.on('error', () => {})
  await client.connect()
  clients.push(client)
  return client
}

/** Forbids a verb. */
function without(verb: string): World['decide'] {
  return (actions) => (actions.some((action) => action.verb === verb) ? 'deny' : 'allow')
}

const verbs = () => world.calls.map(({ actions }) => actions?.map(({ verb, resource }) => `${verb} ${resource}`) ?? [])

describe('an allowed call behaves as without the gateway', () => {
  test('a simple query with several statements', async () => {
    const client = await connect()
    const results = await client.query('SELECT 1 AS a; SELECT 2 AS b')
    // node-postgres gives a list for several.
    expect((results as unknown as pg.QueryResult[]).map(({ rows }) => rows)).toEqual([[{ a: 1 }], [{ b: 2 }]])
    await world.recorded(1)
    expect(world.calls.map(({ outcome }) => outcome?.name)).toEqual(['forwarded'])
  })

  test('parameters, prepared statements, and what the catalog says of names', async () => {
    const client = await connect()
    for (const id of [1, 2]) {
      const { rows } = await client.query({
        name: 'put',
        text: 'INSERT INTO orders VALUES ($1, $2) RETURNING *',
        values: [id, 'x'],
      })
      expect(rows).toEqual([{ id, what: 'x' }])
    }
    expect(verbs().flat()).toContain('insert public.orders')
    await client.query('TRUNCATE orders')
  })

  test('an error of the upstream, inside of a transaction and outside', async () => {
    const client = await connect()
    await expect(client.query('SELECT 1/0')).rejects.toMatchObject({ code: '22012' })
    await expect(client.query('SELECT 1/$1::int', [0])).rejects.toMatchObject({ code: '22012' })
    await client.query('BEGIN')
    await expect(client.query('SELECT 1/0')).rejects.toMatchObject({ code: '22012' })
    await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '25P02' })
    await client.query('ROLLBACK')
    expect((await client.query('SELECT 1 AS a')).rows).toEqual([{ a: 1 }])
  })

  test('a large result', async () => {
    const client = await connect()
    const { rows } = await client.query(
      `SELECT count(*)::int AS n FROM (SELECT repeat('x', 1000) FROM generate_series(1, 100000)) s`,
    )
    expect(rows).toEqual([{ n: 100000 }])
    const all = await client.query(`SELECT repeat('x', 1000) AS x FROM generate_series(1, 20000)`)
    expect(all.rows).toHaveLength(20000)
    await world.recorded(2)
    expect(world.calls[1]?.outcome?.bytesOut).toBeGreaterThan(20_000_000)
  })

  test('an empty query and a comment need no rule', async () => {
    world.decide = () => 'deny'
    const client = await connect()
    await client.query('')
    await client.query('-- ping')
    await client.query({ text: '/* ping */', values: [] })
    expect(world.calls).toEqual([])
  })

  test('notifications and notices come through', async () => {
    const client = await connect()
    const heard = new Promise((resolve) => client.once('notification', ({ payload }) => resolve(payload)))
    await client.query('LISTEN news')
    const other = await connect()
    await other.query(`NOTIFY news, 'hello'`)
    expect(await heard).toBe('hello')
  })

  test('the settings of the session are those of the upstream', async () => {
    const client = await connect({ application_name: 'reports' })
    const { rows } = await client.query(`SELECT current_setting('application_name') AS name`)
    expect(rows).toEqual([{ name: 'reports' }])
    expect(world.calls[0]?.actions?.[0]?.facts['application_name']).toBe('reports')
  })

  test('names mean what the search path says', async () => {
    const client = await connect()
    await client.query('CREATE SCHEMA IF NOT EXISTS other; CREATE TABLE IF NOT EXISTS other.orders (id int)')
    await client.query('SELECT count(*) FROM orders')
    await client.query('SET search_path TO other')
    await client.query('SELECT count(*) FROM orders')
    await client.query('BEGIN')
    await client.query('SET LOCAL search_path TO public')
    await client.query('SELECT count(*) FROM orders')
    await client.query('COMMIT')
    await client.query('SELECT count(*) FROM orders')
    const tables = world.calls
      .map(({ actions }) => actions?.[0]?.facts['tables'])
      .filter((each) => String(each).includes('orders'))
    expect(tables).toEqual([['public.orders'], ['other.orders'], ['public.orders'], ['other.orders']])
  })
})

describe('a call that is refused', () => {
  test('is not executed, and the session goes on', async () => {
    world.decide = without('delete')
    const client = await connect()
    await client.query(`INSERT INTO orders VALUES (10, 'kept')`)
    for (const how of ['DELETE FROM orders', { text: 'DELETE FROM orders WHERE id = $1', values: [10] }]) {
      await expect(client.query(how)).rejects.toMatchObject({
        code: '42501',
        severity: 'ERROR',
        message: 'Not executed. A rule forbids it.',
        detail: expect.stringContaining('shop/a-rule'),
        hint: expect.any(String),
      })
    }
    expect((await client.query('SELECT id FROM orders')).rows).toEqual([{ id: 10 }])
    await client.query('TRUNCATE orders')
  })

  test('takes all of its batch with it', async () => {
    world.decide = without('delete')
    const client = await connect()
    await expect(client.query(`INSERT INTO orders VALUES (11); DELETE FROM orders`)).rejects.toMatchObject({
      code: '42501',
    })
    expect((await client.query('SELECT id FROM orders')).rows).toEqual([])
  })

  test.each([[`DELETE FROM orders`], [{ text: 'DELETE FROM orders WHERE id = $1', values: [1] }]])(
    'fails the transaction on both sides: %j',
    async (how) => {
      world.decide = without('delete')
      const client = await connect()
      await client.query('BEGIN')
      await client.query(`INSERT INTO orders VALUES (12, 'x')`)
      await expect(client.query(how)).rejects.toMatchObject({ code: '42501' })
      await expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '25P02' })
      const { command } = await client.query('COMMIT')
      expect(command).toBe('ROLLBACK')
      expect((await client.query('SELECT id FROM orders')).rows).toEqual([])
    },
  )

  test('cannot be parsed, or is nothing that is named', async () => {
    const client = await connect()
    for (const how of ['SELECT 1 FROM FROM', { text: 'SELECT $1 FROM FROM', values: [1] }]) {
      await expect(client.query(how)).rejects.toMatchObject({
        code: '42601',
        message: 'syntax error at or near "FROM"',
        position: typeof how === 'string' ? '15' : '16',
      })
    }
    await expect(client.query('EXECUTE nothing')).rejects.toMatchObject({
      code: '26000',
      message: 'prepared statement "nothing" does not exist',
    })
    await expect(client.query('SET standard_conforming_strings = off')).rejects.toMatchObject({ severity: 'ERROR' })
    expect((await client.query('SELECT 1 AS a')).rows).toEqual([{ a: 1 }])
  })
})

describe('a call that is held', () => {
  test('waits, is told so at once, and is executed when people agree', async () => {
    world.decide = () => 'hold'
    const client = await connect()
    const notice = new Promise<unknown>((resolve) => client.once('notice', resolve))
    const answer = client.query(`SELECT 'held' AS a`)
    const held = await world.held()
    expect(await notice).toMatchObject({
      message: `Not executed yet. Waiting for approval ${held.approval.id}.`,
      detail: expect.stringContaining('https://gateway.example.com/'),
    })
    held.approve()
    expect((await answer).rows).toEqual([{ a: 'held' }])
  })

  test('is told that it was not executed when its session is cut off', async () => {
    world.decide = () => 'hold'
    const client = await connect()
    const over = new Promise<Error>((resolve) => client.once('error', resolve))
    const answer = expect(client.query('SELECT 1 AS a')).rejects.toThrow('Not executed. This agent was suspended.')
    await world.held()
    world.cut(refuse('suspended', 'Cut off. This agent was suspended.'))
    await answer
    await over
  })

  test('is refused with what the reviewer said', async () => {
    world.decide = () => 'hold'
    const client = await connect()
    const answer = expect(client.query({ text: 'SELECT $1::int', values: [5] })).rejects.toMatchObject({
      code: '42501',
      message: expect.stringContaining('not on a Friday'),
    })
    const held = await world.held()
    const { payload } = await held.call.present({})
    expect(payload?.text).toBe('  SELECT $1::int\n$1 = "5"')
    held.deny('not on a Friday')
    await answer
  })

  test('is found again by the identical statement with identical parameters, on another connection', async () => {
    world.decide = () => 'hold'
    const keys: Buffer[] = []
    for (const [name, id] of [
      ['a', 5],
      ['b', 5],
      ['c', 6],
    ] as const) {
      const client = await connect()
      const answer = client.query({ name, text: 'SELECT $1::int AS a', values: [id] })
      const held = await world.held()
      keys.push(held.sealed.matchKey)
      held.approve()
      expect((await answer).rows).toEqual([{ a: id }])
    }
    expect([keys[0]?.equals(keys[1] ?? Buffer.alloc(0)), keys[0]?.equals(keys[2] ?? Buffer.alloc(0))]).toEqual([
      true,
      false,
    ])
  })

  test('is what was approved, whatever a connection calls itself', async () => {
    world.decide = () => 'hold'
    const digests: Buffer[] = []
    for (const name of ['reports-17', 'reports-18']) {
      const client = await connect({ application_name: name })
      const answer = client.query('SELECT 1 AS one')
      const held = await world.held()
      digests.push(held.sealed.digest)
      held.approve()
      await answer
    }
    expect(digests[0]?.equals(digests[1] ?? Buffer.alloc(0))).toBe(true)
  })

  test.each([
    ['DateStyle', ['ISO, MDY', 'ISO, DMY']],
    ['TimeZone', ['UTC', 'Asia/Tokyo']],
    ['IntervalStyle', ['postgres', 'sql_standard']],
  ])('is another where times are read otherwise, by %s', async (setting, values) => {
    const found: Buffer[] = []
    for (const value of values) {
      world.decide = () => 'allow'
      const client = await connect()
      await client.query(`SET ${setting} = '${value}'`)
      world.decide = () => 'hold'
      const answer = client.query("SELECT '01/02/2026 12:00'::timestamptz + '-1 1:00'::interval AS at")
      const held = await world.held()
      found.push(held.sealed.matchKey, held.sealed.digest)
      held.approve()
      await answer
    }
    expect(new Set(found.map((each) => each.toString('hex'))).size).toBe(4)
  })

  test.each<[string, (id: number) => string, string]>([
    ['a prepared statement', (id) => `PREPARE s AS DELETE FROM orders WHERE id = ${id}`, 'EXECUTE s'],
    ['one that is explained', (id) => `PREPARE s AS SELECT ${id} AS a`, 'EXPLAIN ANALYZE EXECUTE s'],
  ])('is another where its name stands for another text: %s', async (_name, made, sql) => {
    const found: Buffer[] = []
    for (const id of [1_000_001, 1_000_002, 1_000_001]) {
      world.decide = () => 'allow'
      const client = await connect()
      await client.query(made(id))
      world.decide = () => 'hold'
      const answer = client.query(sql)
      const held = await world.held()
      found.push(held.sealed.matchKey)
      held.approve()
      await answer
    }
    const [first, second, third] = found.map((each) => each.toString('hex'))
    expect([first === second, first === third]).toEqual([false, true])
  })

  test('is shown with what its names stand for', async () => {
    world.decide = () => 'allow'
    const client = await connect()
    await client.query('PREPARE s AS SELECT id FROM orders WHERE id = 1000001')
    await client.query('BEGIN; DECLARE c CURSOR FOR SELECT id FROM orders WHERE id = 1000002')
    world.decide = () => 'hold'
    const answer = client.query('EXECUTE s; FETCH c')
    const held = await world.held()
    expect((await held.call.present({})).payload?.text).toBe(
      [
        '  EXECUTE s; FETCH c',
        '"s" stands for:',
        '  PREPARE s AS SELECT id FROM orders WHERE id = 1000001',
        '"c" stands for:',
        '  DECLARE c CURSOR FOR SELECT id FROM orders WHERE id = 1000002',
      ].join('\n'),
    )
    held.approve()
    await answer
  })

  test.each<[string, string]>([
    ['a portal', 'DELETE FROM orders WHERE id = $1 RETURNING id'],
    ['a cursor', 'DECLARE p CURSOR FOR SELECT id FROM orders WHERE id = $1'],
  ])('is another where rows are taken of what has other parameters: %s', async (_name, sql) => {
    const found: Buffer[] = []
    for (const id of ['1000001', '1000002', '1000001']) {
      world.decide = () => 'allow'
      const session = await connectSession(world.port, { database: world.database })
      const made = sql.startsWith('DECLARE') ? [bind([id]), execute()] : [bind([id], { portal: 'p' })]
      for (const batch of [[query('BEGIN')], [parse(sql), ...made, sync]]) {
        session.send(...batch)
        expect((await session.story()).at(-1)).toBe('ready T')
      }
      world.decide = () => 'hold'
      session.send(query('FETCH ALL FROM p'))
      const held = await world.held()
      found.push(held.sealed.matchKey)
      held.approve()
      await session.until('ready')
      session.close()
    }
    const [first, second, third] = found.map((each) => each.toString('hex'))
    expect([first === second, first === third]).toEqual([false, true])
  })

  test('is another where that was set in the same part of a conversation', async () => {
    const found: Buffer[] = []
    for (const style of ['ISO, MDY', 'ISO, DMY']) {
      world.decide = () => 'allow'
      const session = await connectSession(world.port, { database: world.database })
      session.send(parse(`SET DateStyle = '${style}'`), bind(), execute(), flush)
      await session.until('command_complete')
      world.decide = () => 'hold'
      session.send(parse("SELECT '01/02/2026'::date"), bind(), execute(), sync)
      const held = await world.held()
      found.push(held.sealed.matchKey)
      held.approve()
      await session.until('ready')
      session.close()
    }
    expect(found[0]?.equals(found[1] ?? Buffer.alloc(0))).toBe(false)
  })

  test('is named anew once people have agreed: its names may stand for something else by then', async () => {
    const admin = new pg.Client({ connectionString: world.adminUrl })
    await admin.connect()
    onTestFinished(() => admin.end())
    await admin.query('CREATE SCHEMA nearer; INSERT INTO orders VALUES (7001)')
    const client = await connect()
    await client.query('SET search_path TO nearer, public')
    world.decide = (actions) => (actions.some(({ verb }) => verb === 'delete') ? 'hold' : 'allow')
    const answer = expect(client.query('DELETE FROM orders WHERE id = 7001')).rejects.toThrow('Another digest')
    const held = await world.held()
    await (await connect()).query('CREATE TABLE nearer.orders AS TABLE public.orders')
    held.approve()
    await answer
    const { rows } = await admin.query('SELECT id FROM nearer.orders WHERE id = 7001')
    expect(rows).toEqual([{ id: 7001 }])
    await admin.query('DROP SCHEMA nearer CASCADE; DELETE FROM orders')
  })

  test('is withdrawn by a cancel, and left by a client that leaves', async () => {
    world.decide = () => 'hold'
    const client = await connect()
    const answer = expect(client.query('SELECT 1')).rejects.toMatchObject({ code: '57014' })
    await world.held()
    await cancel(client)
    await answer
    await world.recorded(1)
    expect(world.calls[0]?.outcome?.refusal?.code).toBe('withdrawn')

    void client.query('SELECT 2').catch(() => {})
    const held = await world.held()
    // As a process does that is killed.
    streamOf(client).destroy()
    await world.recorded(2)
    expect(held.call.whenGone()).toBe('leave')
    expect(world.calls[1]?.outcome?.refusal?.code).toBe('approval_pending')
  })
})

describe('a call that runs', () => {
  test('is ended by a cancel', async () => {
    const client = await connect()
    const answer = expect(client.query('SELECT pg_sleep(60)')).rejects.toMatchObject({ code: '57014' })
    await running('pg_sleep(60)')
    await cancel(client)
    await answer
  })

  test('is ended upstream when its client leaves', async () => {
    const client = await connect()
    void client.query('SELECT pg_sleep(61)').catch(() => {})
    await running('pg_sleep(61)')
    streamOf(client).destroy()
    await running('pg_sleep(61)', false)
    await world.recorded(1)
    expect(world.calls[0]?.outcome?.name).toBe('client_gone')
  })

  test('is cut off with its session when its agent is stopped', async () => {
    const client = await connect()
    const answer = expect(client.query('SELECT pg_sleep(62)')).rejects.toThrow('Cut off. This agent was suspended.')
    await running('pg_sleep(62)')
    world.cut(refuse('suspended', 'Cut off. This agent was suspended.'))
    await answer
    await running('pg_sleep(62)', false)
  })

  test('is cut off when a limit runs out', async () => {
    world.spendBytes = () => false
    const client = await connect()
    await expect(client.query(`SELECT repeat('x', 1000) FROM generate_series(1, 1000)`)).rejects.toThrow()
    await world.recorded(1)
    expect(world.calls[0]?.outcome?.name).toBe('cut')
  })

  test('is told how to go on when a limit runs out', async () => {
    world.spendBytes = () => false
    const client = await connect()
    await expect(client.query('SELECT 1')).rejects.toMatchObject({
      code: '53400',
      message: 'Cut off. A limit of the rule that allowed this statement ran out.',
      hint: 'Connect again, and ask for less at a time: fewer rows, or fewer columns.',
    })
  })
})

test.each([
  ['notices', `DO $$ BEGIN FOR n IN 1..1000 LOOP RAISE NOTICE '%', repeat('x', 1000); END LOOP; END $$`],
  ['notifications', `SELECT count(pg_notify('news', n || repeat('x', 1000))) FROM generate_series(1, 1000) n`],
])('what code says in %s counts as bytes', async (what, sql) => {
  const session = await connectSession(world.port, { database: world.database })
  session.send(query('LISTEN news'))
  await session.until('ready')
  let left = 50_000
  world.spendBytes = (count) => {
    left -= count
    return left >= 0
  }
  session.send(query(sql))
  const story = await session.story()
  expect(story.filter((each) => what.startsWith(each)).length).toBeLessThan(60)
  expect(story.at(-1)).toBe('error 53400')
})

describe('rows are counted before they pass', () => {
  /** Lets so many pass. */
  function upTo(most: number): void {
    let taken = 0
    world.spendRows = (count) => {
      taken += count
      return taken <= most
    }
  }

  test.each([
    ['a simple query', [query('SELECT generate_series(1, 1000)')], 'row'],
    ['several statements', [query('SELECT 1; SELECT 2; SELECT generate_series(3, 9)')], 'row'],
    ['a copy', [query('COPY (SELECT generate_series(1, 1000)) TO STDOUT')], 'copied'],
    [
      'an export in pages',
      [
        parse('SELECT generate_series(1, 1000)'),
        bind(),
        execute('', 2),
        execute('', 2),
        execute('', 2),
        execute('', 2),
        sync,
      ],
      'row',
    ],
  ])('and the first one too many ends the session: %s', async (_what, messages, prefix) => {
    upTo(4)
    const session = await connectSession(world.port, { database: world.database })
    session.send(...messages)
    const story = await session.story()
    expect(story.filter((each) => each.startsWith(`${prefix} `))).toEqual([1, 2, 3, 4].map((row) => `${prefix} ${row}`))
    expect(story.at(-1)).toBe('error 53400')
    await world.recorded(1)
    expect(world.calls[0]?.outcome).toMatchObject({ name: 'cut', refusal: { code: 'rate_limited' } })
  })

  test('and those of the gateway itself are not', async () => {
    upTo(1)
    const client = await connect()
    await client.query('SET search_path TO public')
    expect((await client.query('SELECT id FROM orders UNION SELECT 7')).rows).toEqual([{ id: 7 }])
  })
})

/** Through the gateway, with the key it gave. */
async function cancel(client: pg.Client): Promise<void> {
  const other = new pg.Client({ connectionString: world.url() })
  // What psql does on Ctrl-C; it is not in the types of node-postgres.
  const { processID, secretKey } = client as unknown as { processID: number; secretKey: number }
  const { connection } = other as unknown as {
    connection: {
      connect(port: number, host: string): void
      on(event: string, told: () => void): void
      cancel(id: number, key: number): void
    }
  }
  await new Promise<void>((resolve) => {
    connection.on('connect', () => connection.cancel(processID, secretKey))
    connection.on('end', resolve)
    connection.connect(world.port, '127.0.0.1')
  })
}

function streamOf(client: pg.Client): { destroy(): void } {
  return (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream
}

/** Until the upstream runs such a statement, or does not any more. */
async function running(part: string, isRunning = true): Promise<void> {
  const admin = new pg.Client({ connectionString: world.adminUrl })
  await admin.connect()
  for (;;) {
    const { rows } = await admin.query(
      `SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND position($1 in query) > 0 AND pid <> pg_backend_pid()`,
      [part],
    )
    if (rows.length > 0 === isRunning) break
  }
  await admin.end()
}

describe('what a session keeps is bounded', () => {
  const LONG = `SELECT '${'x'.repeat(60_000)}'`

  test.each<[string, (name: string) => Parameters<RawSession['send']>]>([
    ['statements of messages', (name) => [parse(LONG, name), sync]],
    ['statements of SQL', (name) => [query(`PREPARE ${name} AS ${LONG}`)]],
    ['statements of SQL in messages', (name) => [parse(`PREPARE ${name} AS ${LONG}`), bind(), execute(), sync]],
    ['cursors', (name) => [query(`DECLARE ${name} CURSOR WITH HOLD FOR ${LONG}`)]],
  ])('%s', async (_name, make) => {
    const session = await connectSession(world.port, { database: world.database })
    const made = async (name: string) => {
      session.send(...make(name))
      return await session.story()
    }
    let count = 0
    while (!(await made(`n${count}`)).includes('error 53200')) {
      count += 1
      if (count > 200) break
    }
    expect(count).toBeGreaterThan(50)
    expect(count).toBeLessThan(150)
    session.send(query('DEALLOCATE ALL; CLOSE ALL'))
    await session.story()
    expect(await made('again')).not.toContain('error 53200')
    session.close()
  })
})

describe('a large result', () => {
  test('waits in the upstream for a client that does not read', async () => {
    const session = await connectSession(world.port, { database: world.database })
    session.send(query(`SELECT repeat('x', 100000) FROM generate_series(1, 2000)`))
    await session.until('row_description')
    session.socket.pause()
    let before = -1
    // 200 MB are asked for; what fits into sockets and queues comes, and then nothing more.
    for (let now = session.socket.bytesRead; now !== before; now = session.socket.bytesRead) {
      before = now
      await sleep(300)
    }
    expect(before).toBeLessThan(60_000_000)
    session.close()
  })
})
