import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { countersign, type Replica } from '../e2e/replica.ts'
import { eventually, problemOf, startWorld, type World } from '../e2e/world.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { blocks, quoted, readPage, tableUnder } from './pages.ts'

const page = readPage('docs/audit.md')
const AS_ADMINISTRATOR = '-- as the administrator\n'
const statements = blocks(page, 'sql')
const questions = statements.filter((sql) => !sql.startsWith(AS_ADMINISTRATOR))

const POLICY = `
name: billing
rules:
  - { name: notes, verbs: [GET, PUT], effect: allow }
  - { name: refunds, verbs: [POST], effect: hold, approval: { reviewers: ["group:finance"] } }
  - { name: patches, verbs: [PATCH], effect: hold, approval: { reviewers: ["group:finance"], grant: { for: 30m, uses: 2, covers: rule } } }
  - { name: removals, verbs: [DELETE], effect: hold, approval: { reviewers: ["group:finance"], quorum: 2, override: ["group:commanders"] } }
`

let store: TestDatabase
let world: World
let replica: Replica
let auditor: pg.Client
let folder: string
/** One held call that was repeated, as the page tells it. */
let story: { approval: string; calls: readonly string[] }

beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  await world.writePolicy(POLICY)
  folder = await mkdtemp(join(tmpdir(), 'countersign-docs-'))
  const upstream = { protocol: 'http', url: world.upstream.url }
  const upstreams = [
    { ...upstream, name: 'billing' },
    { ...upstream, name: 'shop', mode: 'observe' },
  ]
  replica = await world.start({ config: { upstreams } })
  await fetch(`${replica.url}/billing/customers`)
  const headers = { authorization: `Bearer ${await world.agentToken()}` }
  await fetch(`${replica.url}/shop/everything`, { method: 'DELETE', headers })
  story = await tellStory()
  await grantAndOverride()
  // What nobody answers is answered in doubt.
  world.upstream.manner = 'stall'
  const gone = new AbortController()
  const arrived = world.upstream.arrivals(1)
  const left = world.call(replica, '/notes', { method: 'PUT', signal: gone.signal }).then((response) => response.text())
  await arrived
  gone.abort()
  await left.catch(() => undefined)
  await world.until(`SELECT FROM countersign.audit_log WHERE outcome = 'client_gone'`)
  // At its end a gateway writes what it had only counted.
  await replica.stop()
  auditor = await logInAsAuditor()
})
afterAll(async () => {
  await auditor.end()
  await world[Symbol.asyncDispose]()
  await store.close()
  await rm(folder, { recursive: true })
})

async function tellStory() {
  const first = await problemOf(await world.call(replica, '/refunds', { headers: { prefer: 'wait=0' } }))
  const approval = first.approval ?? expect.fail('the call is held')
  await world.approve(replica, approval)
  const again = await world.call(replica, '/refunds')
  expect(again.status).toBe(200)
  const opened = await world.until<{ call_id: string }>(
    `SELECT call_id FROM countersign.audit_log WHERE kind = 'held' AND approval_id = $1`,
    [approval],
  )
  return { approval, calls: [opened.call_id, again.headers.get('countersign-call') ?? ''] }
}

/** A grant that is used once, and an override. */
async function grantAndOverride(): Promise<void> {
  const waiting = { headers: { prefer: 'wait=0' } }
  const first = await problemOf(await world.call(replica, '/notes/1', { method: 'PATCH', ...waiting }))
  const grant = { minutes: 10, uses: 2, covers: 'rule' }
  const granted = await world.vote(replica, first.approval ?? '', { as: 'fay', more: { grant } })
  expect(granted.status).toBe(200)
  expect((await world.call(replica, '/notes/2', { method: 'PATCH' })).status).toBe(200)

  const held = await problemOf(await world.call(replica, '/notes/3', { method: 'DELETE', ...waiting }))
  const token = await world.personToken('carla', ['commanders'], { auth_time: Math.floor(Date.now() / 1000) })
  const more = { reason: 'The shop is down.' }
  const overridden = await world.vote(replica, held.approval ?? '', { token, decision: 'override', more })
  expect(overridden.status).toBe(200)
}

/** The login of the page, with another name and password: roles belong to the whole cluster. */
async function logInAsAuditor(): Promise<pg.Client> {
  const name = `rita_${process.pid}_${Date.now()}`
  const create = statements.find((sql) => sql.includes('CREATE ROLE rita')) ?? ''
  await world.admin.query(create.replaceAll('rita', name).replace('change me', 'secret'))
  const url = new URL(store.adminUrl)
  Object.assign(url, { username: name, password: 'secret' })
  const client = new pg.Client({ connectionString: url.href })
  await client.connect()
  return client
}

/** A statement of the page with what stands for the reader's own replaced. */
function fitted(sql: string): string {
  return sql
    .replaceAll('https://idp.example.com', world.issuer)
    .replaceAll('01a1f933-840d-7755-add4-bab91daf340c', story.calls[0] ?? '')
    .replaceAll('7Q3F000000', story.approval)
}

describe('the columns', () => {
  it('are those of the view, with their types', async () => {
    const { rows } = await auditor.query<{ name: string; type: string }>(
      `SELECT attname AS name, replace(format_type(atttypid, atttypmod), 'timestamp with time zone', 'timestamptz') AS type
       FROM pg_attribute WHERE attrelid = 'countersign.audit_log'::regclass AND attnum > 0 ORDER BY attnum`,
    )
    const listed = tableUnder(page, 'Columns').map(([name = '', type = '']) => [quoted(name)[0], quoted(type)[0]])
    expect(listed).toEqual(rows.map(({ name, type }) => [name, type]))
  })
})

describe('the questions', () => {
  it.each(questions.map((sql, index) => [index, sql] as const))('have an answer for an auditor: %i', async (_, sql) => {
    const { rows } = await auditor.query(fitted(sql))
    expect(rows.length).toBeGreaterThan(0)
  })

  it('tell who approved what touched a resource', async () => {
    const { rows } = await auditor.query(fitted(questions[0] ?? ''))
    expect(rows).toEqual([
      expect.objectContaining({
        agent: 'support-agent',
        owner: `${world.issuer}|olivia`,
        verb: 'POST',
        resource: '/refunds',
        reviewer: `${world.issuer}|finn`,
        reviewer_group: 'group:finance',
        outcome: 'forwarded',
      }),
    ])
  })

  it('tell a held call as the table does', async () => {
    const { rows } = await auditor.query<{ kind: string; call_id: string; approval_id: string | null }>(
      'SELECT kind, call_id, approval_id FROM countersign.audit_log WHERE call_id = ANY ($1::uuid[]) ORDER BY seq',
      [story.calls],
    )
    const told = tableUnder(page, 'How a held call reads').map(([kind = '', call, approval]) => [
      quoted(kind)[0],
      story.calls[call === 'A' ? 0 : 1],
      approval === '' ? null : story.approval,
    ])
    expect(rows.map(({ kind, call_id, approval_id }) => [kind, call_id, approval_id])).toEqual(told)
  })

  it('are all that an auditor may ask', async () => {
    await expect(auditor.query('SELECT * FROM countersign.approval')).rejects.toThrow('permission denied')
    await expect(auditor.query('DELETE FROM countersign.audit_personal')).rejects.toThrow('permission denied')
  })
})

describe('the commands', () => {
  const config = () => ['--config', replica.configFile]

  it('verify the log, and an export of it', async () => {
    expect(await countersign('audit', 'verify', ...config())).toMatchObject({ code: 0, err: '' })
    const file = join(folder, 'entries.jsonl')
    expect(await countersign('audit', 'export', file, ...config())).toMatchObject({ code: 0 })
    expect(await countersign('audit', 'verify', '--file', file, ...config())).toMatchObject({ code: 0 })
    expect(await readFile(file, 'utf8')).not.toContain('finn')
  })

  it('find the log intact after a name was erased', async () => {
    const erase = statements.find((sql) => sql.includes('erase_personal')) ?? ''
    const admin = new pg.Client({ connectionString: store.adminUrl })
    await admin.connect()
    await admin.query(fitted(erase))
    await admin.end()
    const { rows } = await auditor.query(
      `SELECT reviewer FROM countersign.audit_log WHERE kind = 'vote' AND approval_id = $1`,
      [story.approval],
    )
    expect(rows).toEqual([{ reviewer: null }])
    expect(await eventually(() => countersign('audit', 'verify', ...config()))).toMatchObject({ code: 0 })
  })
})
