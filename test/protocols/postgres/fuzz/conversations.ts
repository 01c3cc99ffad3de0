import { encodeMessage } from '../../../../src/protocols/postgres/wire/fields.ts'
import { encodeFrontend, type Frontend } from '../../../../src/protocols/postgres/wire/frontend.ts'
import { encodeOpening, type Opening } from '../../../../src/protocols/postgres/wire/opening.ts'
import { bind, close, copyData, copyDone, describeIt, execute, flush, parse, query, sync } from '../raw.ts'

/**
 * What a client says, in turns: before the next one it hears what it is answered. The bytes are those of a client that
 * keeps to the protocol, message by message.
 */
export type Conversation = readonly (readonly Buffer[])[]

/** The key of a session that is there all the time. */
export const CANCEL_KEY = { processId: 4711, secret: Buffer.from('a key of four or more bytes') }

function startup(more: Readonly<Record<string, string>> = {}, minor = 0): Buffer {
  const parameters = new Map(Object.entries({ user: 'app', database: 'shop', ...more }))
  return encodeOpening({ type: 'startup', major: 3, minor, parameters })
}

const ask = (type: Extract<Opening['type'], 'ssl_request' | 'gss_request'>) => encodeOpening({ type })
const password = (token: string) => encodeMessage('p', [{ text: token }])
const goodbye = encodeFrontend({ type: 'terminate' })

/** A session behind an opening that is as plain as can be. */
function session(...messages: Frontend[]): Conversation {
  return [[startup()], [password('good'), ...messages.map(encodeFrontend), goodbye]]
}

const q = query
const bindText: Frontend = {
  type: 'bind',
  portal: 'p1',
  statement: 's1',
  formats: ['text', 'binary'],
  values: [Buffer.from('7'), Buffer.from([0, 0, 0, 9])],
  resultFormats: ['text', 'binary'],
}

export const CONVERSATIONS: readonly [Conversation, ...Conversation[]] = [
  // Openings.
  [[ask('ssl_request')], [startup()], [password('good'), encodeFrontend(q('SELECT 1')), goodbye]],
  [[ask('gss_request')], [ask('ssl_request')], [startup({}, 2)], [password('good'), encodeFrontend(q('SELECT 1'))]],
  [[startup({ application_name: 'x', client_encoding: 'UTF8', DateStyle: 'ISO', extra_float_digits: '2' })]],
  [[startup({ options: '-c TimeZone=UTC --application_name=a\\ b', '_pq_.x': '1' }, 9)], [password('good'), goodbye]],
  [[startup({ replication: 'database' })]],
  [[startup()], [password('bad')]],
  // A user that the gateway has minted, and a proof by somebody who does not know the password.
  [
    [startup({ user: 'cs_0123456789abcdefghjk' })],
    [encodeMessage('p', [{ text: 'SCRAM-SHA-256' }, { value: Buffer.from('n,,n=,r=rOprNGfwEbeRWgbNEkqO') }])],
    [encodeMessage('p', [{ bytes: Buffer.from(`c=biws,r=rOprNGfwEbeRWgbNEkqO,p=${'A'.repeat(43)}=`) }])],
  ],
  [[encodeOpening({ type: 'cancel', ...CANCEL_KEY })]],
  [[Buffer.concat([Buffer.from([0x16, 3, 1, 0, 5]), Buffer.from('hello')])]],
  // The simple query protocol.
  session(q('SELECT id, what FROM orders WHERE id = 1'), q('SELECT 1; SELECT 2'), q(''), q('-- ping')),
  session(q('BEGIN'), q("INSERT INTO orders VALUES (1, 'x')"), q('SAVEPOINT a'), q('ROLLBACK TO a'), q('COMMIT')),
  session(q('BEGIN; DELETE FROM orders; COMMIT'), q('SELECT 1'), q('BEGIN'), q('DROP TABLE orders'), q('ROLLBACK')),
  session(q('PREPARE p AS SELECT 1'), q('EXECUTE p'), q('PREPARE d AS DELETE FROM orders'), q('EXECUTE d')),
  session(q('BEGIN'), q('DECLARE c CURSOR FOR SELECT 1'), q('FETCH 1 FROM c'), q('CLOSE c'), q('DISCARD PLANS')),
  session(
    q("SELECT 'it''s', E'a\\\\b', $$x$$, U&'\\0041' -- ü"),
    q('SELEC'),
    q('SET search_path TO a'),
    q('RESET ALL'),
  ),
  session(q('WITH d AS (DELETE FROM orders RETURNING *) SELECT * FROM d'), q('EXPLAIN ANALYZE DELETE FROM orders')),
  // The extended one.
  session(parse('SELECT $1::int'), bind(['1']), describeIt('portal'), execute(), sync),
  session(parse('SELECT $1::int, $2::int', 's1'), describeIt('statement', 's1'), sync, bindText, execute('p1'), sync),
  session(
    q('BEGIN'),
    parse('SELECT 1'),
    bind([], { portal: 'c' }),
    execute('c', 1),
    flush,
    execute('c'),
    sync,
    q('END'),
  ),
  session(
    parse('DELETE FROM orders', 'd'),
    sync,
    bind([], { statement: 'd' }),
    execute(),
    sync,
    q('EXECUTE d'),
    q('SELECT 1'),
  ),
  session(
    ...[parse('SELECT 1', 's'), close('statement', 's'), parse('DELETE FROM orders', 's')],
    ...[bind([], { statement: 's' }), execute(), sync, q('SELECT 2')],
  ),
  session(
    parse('INSERT INTO orders VALUES (2)'),
    bind(),
    execute(),
    flush,
    parse('SELEC'),
    flush,
    bind(),
    sync,
    q('SELECT 1'),
  ),
  session(...Array.from({ length: 6 }, () => [parse('SELECT 1'), bind(), execute(), sync]).flat()),
  // Code that cannot be seen, after which names and text are in doubt.
  session(
    ...[parse('SELECT 1', 's'), sync, q('PREPARE p AS SELECT 2'), parse('SELECT x.f()'), bind(), execute()],
    ...[
      bind([], { statement: 's' }),
      execute(),
      sync,
      q("DO 'x'"),
      q('EXECUTE p'),
      bind([], { statement: 's' }),
      execute(),
      sync,
    ],
  ),
  session(parse('SELECT * FROM orders'), bind(), execute(), parse("SELECT 'ü\\'"), bind(), execute(), flush, sync),
  // COPY.
  session(q('COPY orders FROM STDIN'), copyData('1\tone\n'), copyData('2\ttwo\n'), copyDone, q('SELECT 1')),
  session(
    q('COPY orders FROM STDIN'),
    copyData('1\tone\n'),
    { type: 'copy_fail', reason: 'no' },
    q('DELETE FROM orders'),
  ),
  session(parse('COPY orders FROM STDIN'), bind(), execute(), sync, copyData('3\tx\n'), copyDone, sync, q('SELECT 1')),
  session(
    q('COPY orders FROM STDIN'),
    copyData('broken\n'),
    copyData('Q\0\0\0\x17DELETE FROM orders\0'),
    copyDone,
    q('SELECT 1'),
  ),
  session(q('COPY orders TO STDOUT'), q('COPY (DELETE FROM orders RETURNING *) TO STDOUT')),
  // What is refused whatever policy says.
  session(
    { type: 'function_call', function: 1, formats: [], values: [Buffer.from('x')], resultFormat: 'text' },
    q('SELECT 1'),
  ),
  session(parse('SELECT 1', '_countersign'), sync, execute('nothing'), sync, q("SET client_encoding = 'SJIS'")),
]
