import { once } from 'node:events'
import pg from 'pg'
import { agentToken, type Gateway, memoryOf } from '../gateway.ts'
import type { Issuer } from '../issuer.ts'
import type { Table } from '../report.ts'

const OF_ONE_AGENT = 100
const AT_ONCE = 20
const TARGET_KIB = 100

interface Options {
  readonly issuer: Issuer
  /** With a channel, so that it can be asked. */
  readonly gateway: Gateway
  readonly database: string
  readonly sessions: number
  tell(line: string): void
}

/** What a session of Postgres takes of a process that has a thousand of them: idle, and each with a statement held. */
export async function measureSqlSessions({ issuer, gateway, database, sessions, tell }: Options): Promise<Table> {
  const agents = Math.ceil(sessions / OF_ONE_AGENT)
  const tokens = await Promise.all(Array.from({ length: agents }, (_, index) => agentToken(issuer, `agent-${index}`)))
  const clients: pg.Client[] = []
  try {
    // One of each agent before, so that what is kept of agents and not of sessions is there.
    await open(0, agents)
    const before = await memoryOf(gateway)
    await open(agents, agents + sessions)
    const idle = await memoryOf(gateway)
    await Promise.all(clients.slice(agents).map(hold))
    const held = await memoryOf(gateway)
    return describe({ before, idle, held, sessions })
  } finally {
    for (const client of clients) client.end().catch(() => undefined)
  }

  async function open(from: number, to: number): Promise<void> {
    for (let first = from; first < to; first += AT_ONCE) {
      const some = Array.from({ length: Math.min(AT_ONCE, to - first) }, (_, index) => {
        const password = tokens[(first + index) % agents] ?? ''
        const client = new pg.Client({
          host: '127.0.0.1',
          port: gateway.sqlPort ?? 0,
          user: 'agent',
          password,
          database,
        })
        // It is cut off in the end.
        client.on('error', () => {})
        clients.push(client)
        return client
      })
      await Promise.all(some.map((client) => client.connect()))
      await Promise.all(some.map((client) => client.query('SELECT 1')))
      if (clients.length % 200 === 0) tell(`${clients.length} sessions are open`)
    }
  }

  /** Resolves when its client was told that people are asked. */
  async function hold(client: pg.Client, index: number): Promise<void> {
    const notice = once(client, 'notice')
    client.query(`DROP TABLE old_${index}`).catch(() => undefined)
    await notice
  }
}

type Memory = NodeJS.MemoryUsage

function describe(of: { before: Memory; idle: Memory; held: Memory; sessions: number }): Table {
  const { before, idle, held, sessions } = of
  const kib = (to: Memory, read: (usage: Memory) => number) => (read(to) - read(before)) / sessions / 1024
  const kept = (usage: Memory) => usage.heapUsed + usage.external
  const row = (label: string, read: (usage: Memory) => number) => ({
    label,
    values: { 'KiB, idle': kib(idle, read), 'KiB, with a statement held': kib(held, read) },
    isMet: read === kept ? kib(idle, read) <= TARGET_KIB : null,
  })
  return {
    title: 'Memory of a session of Postgres',
    about: `${sessions.toLocaleString('en-US')} sessions at once in one process, each with its own upstream, then each with a statement that waits for people; KiB a session after a full collection. Target: heap and external together ≤ ${TARGET_KIB} KiB for an idle one.`,
    columns: ['KiB, idle', 'KiB, with a statement held'],
    rows: [
      row('heap and external', kept),
      row('heap', ({ heapUsed }) => heapUsed),
      row('external', ({ external }) => external),
      row('resident', ({ rss }) => rss),
    ],
  }
}
