import { copyFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { entryHash, GENESIS, leafHash } from '../../src/audit/chain.ts'
import { LIMITS } from '../../src/audit/group-commit.ts'
import type { Entry } from '../../src/domain/entry.ts'
import { newCallId } from '../../src/platform/id.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { AGENT, asSuperuser, intentOf, openGateway, outcomeOf, temporaryDirectory } from './world.ts'

let store: TestDatabase
let dir: { path: string; remove(): Promise<void> }
let dirs: (typeof dir)[]
type Gateway = Awaited<ReturnType<typeof openGateway>>
let gateways: Gateway[]

beforeEach(async () => {
  store = await createTestDatabase()
  dir = await temporaryDirectory()
  dirs = [dir]
  gateways = []
})
afterEach(async () => {
  await Promise.all(gateways.map((gateway) => gateway.close()))
  await store.close()
  await Promise.all(dirs.map(({ remove }) => remove()))
})

async function open(options: Partial<Parameters<typeof openGateway>[0]> = {}): Promise<Gateway> {
  const gateway = await openGateway({ url: store.url, dataDir: dir.path, ...options })
  gateways.push(gateway)
  return gateway
}

/** Recomputes the chain from the stored bytes and returns the bodies. */
async function readChain(): Promise<Record<string, unknown>[]> {
  const { rows } = await store.database.query<{ seq: number; body: Buffer; hash: Buffer }>(
    'SELECT seq, body, hash FROM countersign.audit_entry ORDER BY seq',
  )
  let link = GENESIS
  for (const [index, row] of rows.entries()) {
    expect(row.seq).toBe(index + 1)
    link = entryHash(link, leafHash(row.body))
    expect(row.hash.equals(link)).toBe(true)
  }
  return rows.map(({ body }) => JSON.parse(body.toString('utf8')) as Record<string, unknown>)
}

describe('appending', () => {
  it('chains an entry and answers where', async () => {
    const { audit } = await open()
    const first = await audit.append({ kind: 'gateway_started' })
    const second = await audit.append({ kind: 'gateway_stopped' })
    expect(first.seq).toBe(1)
    expect(second.seq).toBe(2)
    expect(first.hash).toMatch(/^[0-9a-f]{64}$/)
    expect((await readChain()).map((body) => body['kind'])).toEqual(['gateway_started', 'gateway_stopped'])
  })

  it('keeps one chain for several gateways that append thousands of entries at once', async () => {
    const further = await Promise.all([temporaryDirectory(), temporaryDirectory()])
    dirs.push(...further)
    // A busy machine takes longer than any of them would wait.
    const limits = { ...LIMITS, appendMs: 60_000 }
    const first = await open({ limits })
    await first.audit.append({ kind: 'gateway_started' })
    await first.guard.persist()
    for (const { path } of further) await copyFile(first.headPath, `${path}/head.json`)
    const others = await Promise.all(further.map(({ path }) => open({ dataDir: path, limits })))
    const answers = await Promise.all(
      [first, ...others].flatMap(({ audit }) => Array.from({ length: 1500 }, () => audit.append(intentOf()))),
    )
    expect(new Set(answers.map(({ seq }) => seq)).size).toBe(4500)
    const bodies = await readChain()
    expect(bodies).toHaveLength(4501)
    expect(new Set(bodies.map(({ writer, n }) => `${String(writer)} ${String(n)}`)).size).toBe(4501)
  })

  it('gives an intent the suspension epoch of its commit', async () => {
    const { audit } = await open()
    const before = await audit.intent(intentOf())
    await store.database.query(`SELECT countersign.suspend_agent('i', 's', 'i', 'p', null)`)
    const after = await audit.intent(intentOf())
    expect(after.epoch).toBe(before.epoch + 1)
    expect(after.seq).toBe(2)
  })

  it('chains entries in the transaction of a caller, and none of them if it is rolled back', async () => {
    const { audit, database } = await open()
    await database.transaction((tx) => audit.within(tx, [{ kind: 'held' }, { kind: 'vote' }]))
    await expect(
      database.transaction(async (tx) => {
        await audit.within(tx, [{ kind: 'spent' }])
        throw new Error('changed my mind')
      }),
    ).rejects.toThrow('changed my mind')
    await audit.append({ kind: 'gateway_stopped' })
    expect((await readChain()).map((body) => body['kind'])).toEqual(['held', 'vote', 'gateway_stopped'])
  })

  it('shows auditors the values behind the commitments, in the columns of the contract', async () => {
    const { audit } = await open()
    const callId = newCallId()
    await audit.append(
      intentOf({ callId, model: 'model-x', reason: 'a customer asked', claimed: { conversation: 'c-1' } }),
    )
    await audit.append({
      kind: 'vote',
      approvalId: 'ABCDEFGH12',
      reviewer: { issuer: 'https://people', subject: 'rita' },
    })
    const { rows } = await asSuperuser(store.adminUrl, async (client) => {
      await client.query('SET ROLE countersign_auditor')
      return await client.query('SELECT * FROM countersign.audit_log ORDER BY seq')
    })
    expect(Object.keys(rows[0])).toEqual(
      `seq at kind call_id approval_id issuer subject on_behalf_of owner model upstream verb resource effect rule
       policy_version reviewer reviewer_group outcome body leaf_hash prev_hash hash`.split(/\s+/),
    )
    expect(rows[0]).toMatchObject({
      seq: '1',
      kind: 'intent',
      call_id: callId,
      issuer: AGENT.issuer,
      subject: 'agent-7',
      on_behalf_of: 'https://idp.example.com|alice',
      owner: 'https://idp.example.com|olga',
      model: 'model-x',
      upstream: 'billing',
      verb: 'GET',
      resource: '/refunds/12',
      effect: 'allow',
      rule: 'billing/reads',
      policy_version: '3',
    })
    expect(rows[1]).toMatchObject({ reviewer: 'https://people|rita', prev_hash: rows[0].hash })
    expect(rows[0].prev_hash.equals(GENESIS)).toBe(true)
    expect(rows[0].leaf_hash.equals(leafHash(rows[0].body))).toBe(true)
    for (const name of ['agent-7', 'alice', 'olga', 'model-x', 'a customer asked', 'c-1']) {
      expect(rows[0].body.toString('utf8')).not.toContain(name)
    }
  })

  it('stores a value once, however often it is named, and by further processes too', async () => {
    const first = await open()
    await Promise.all(Array.from({ length: 50 }, () => first.audit.append(intentOf())))
    await first.close()
    const second = await open()
    await second.audit.append(intentOf())
    gateways = [second]
    const { rows } = await store.database.query('SELECT FROM countersign.audit_personal')
    expect(rows).toHaveLength(3)
    expect(new Set((await readChain()).map((body) => body['subject'])).size).toBe(1)
  })

  it('stores a value with a later entry if the transaction that brought it was rolled back', async () => {
    const { audit, database } = await open()
    const attempt = database.transaction(async (tx) => {
      await audit.within(tx, [intentOf()])
      throw new Error('no')
    })
    await expect(attempt).rejects.toThrow('no')
    await audit.append(intentOf())
    const { rows } = await database.query<{ subject: string }>('SELECT subject FROM countersign.audit_log')
    expect(rows).toEqual([{ subject: 'agent-7' }])
  })

  it('names somebody who was erased by another commitment, and never brings the erased one back', async () => {
    const { audit, database } = await open()
    await audit.append(intentOf())
    await asSuperuser(store.adminUrl, (client) =>
      client.query(`SELECT countersign.erase_personal('https://idp.example.com|agent-7')`),
    )
    await audit.append(intentOf())
    await audit.append(intentOf())
    const { rows } = await database.query<{ subject: string | null }>(
      'SELECT subject FROM countersign.audit_log ORDER BY seq',
    )
    expect(rows.map(({ subject }) => subject)).toEqual([null, null, 'agent-7'])
    expect(new Set((await readChain()).map((body) => body['subject'])).size).toBe(2)
  })
})

describe('what goes wrong', () => {
  const poisoned: Entry = { kind: 'policy_published', policyVersion: 1e300 }

  it('refuses only the one entry that the store cannot take', async () => {
    const { audit } = await open()
    const entries = Array.from({ length: 99 }, () => intentOf())
    const answers = await Promise.allSettled([
      ...entries.slice(0, 40).map((entry) => audit.append(entry)),
      audit.append(poisoned),
      ...entries.slice(40).map((entry) => audit.append(entry)),
    ])
    expect(answers.filter(({ status }) => status === 'rejected')).toHaveLength(1)
    expect(answers[40]).toMatchObject({ status: 'rejected', reason: { code: 'audit' } })
    expect(await readChain()).toHaveLength(99)
  })

  it.each([
    ['a NUL', { resource: '/a\0b' }],
    ['a lone surrogate', { resource: '/a\ud800b' }],
    ['a lone surrogate in the detail', { detail: { note: '\udc00' } }],
    ['no UUID for a call', { callId: 'call-1' }],
  ])('refuses %s before it reaches the store', async (_, more) => {
    const { audit } = await open()
    await expect(audit.append(intentOf(more))).rejects.toMatchObject({ code: 'audit' })
    expect(await readChain()).toHaveLength(0)
  })

  it('goes on after its connection was ended, and loses no outcome', async () => {
    const { audit } = await open()
    const calls: Promise<unknown>[] = []
    const ids = Array.from({ length: 2000 }, () => newCallId())
    for (const [index, id] of ids.entries()) {
      calls.push(audit.append(outcomeOf(id)))
      if (index % 400 === 0) {
        await asSuperuser(store.adminUrl, (client) =>
          client.query(
            `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND query LIKE '%countersign.append%' AND pid <> pg_backend_pid()`,
          ),
        )
      }
    }
    await Promise.all(calls)
    const bodies = await readChain()
    expect(new Set(bodies.map((body) => body['call_id']))).toEqual(new Set(ids))
    const firsts = bodies.filter((body) => body['retry'] === undefined)
    expect(new Set(firsts.map(({ n }) => n)).size).toBe(firsts.length)
  })

  it('refuses an intent in time when the chain is locked by somebody else, and writes outcomes once it is free', async () => {
    const { audit } = await open({ limits: { ...LIMITS, appendMs: 400 } })
    const outcome = await asSuperuser(store.adminUrl, async (client) => {
      await client.query('BEGIN; SELECT FROM countersign.audit_head FOR UPDATE')
      const kept = audit.append(outcomeOf(newCallId()))
      const startedAt = performance.now()
      await expect(audit.intent(intentOf())).rejects.toMatchObject({ code: 'audit' })
      expect(performance.now() - startedAt).toBeLessThan(1500)
      await client.query('ROLLBACK')
      return kept
    })
    expect(outcome.seq).toBeGreaterThan(0)
    expect((await readChain()).filter((body) => body['kind'] === 'outcome')).toHaveLength(1)
  })

  it('refuses at once when too many entries wait', async () => {
    const { audit } = await open({ limits: { ...LIMITS, queueEntries: 10 } })
    const answers = await Promise.allSettled(Array.from({ length: 25 }, () => audit.append(intentOf())))
    expect(answers.filter(({ status }) => status === 'rejected')).toHaveLength(15)
  })

  it('refuses to commit without waiting for the disk', async () => {
    await open()
    const attempt = store.database.transaction(async (tx) => {
      await tx.query('SET LOCAL synchronous_commit = off')
      await tx.query(`SELECT countersign.append('{}', null, null, null, null)`)
    })
    await expect(attempt).rejects.toThrow(/synchronous_commit/)
  })

  it('refuses what comes after it was closed', async () => {
    const { audit } = await open()
    await audit.close()
    await expect(audit.append(intentOf())).rejects.toMatchObject({ code: 'audit' })
  })
})

describe('partitions', () => {
  it('makes the next one before it is needed, final like the first', async () => {
    await asSuperuser(store.adminUrl, (client) => client.query(`UPDATE countersign.audit_head SET seq = 9000000`))
    const { rows } = await store.database.query<{ last_seq: number }>(
      `SELECT last_seq FROM countersign.append('{"at":"2026-01-01T00:00:00.000Z","kind":"held"}', null, null, null, null)`,
    )
    expect(rows[0]?.last_seq).toBe(9_000_001)
    await asSuperuser(store.adminUrl, async (client) => {
      await client.query(`UPDATE countersign.audit_head SET seq = 9999999`)
      await client.query(
        `SELECT countersign.append(E'{"at":"2026-01-01T00:00:00.000Z","kind":"held"}\n{"at":"2026-01-01T00:00:00.000Z","kind":"vote"}', null, null, null, null)`,
      )
      await client.query('SET session_replication_role = replica')
      await expect(client.query('DELETE FROM countersign.audit_entry_000001')).rejects.toThrow(/only be added to/)
      await expect(client.query('TRUNCATE countersign.audit_entry_000001')).rejects.toThrow(/only be added to/)
      await expect(client.query('TRUNCATE countersign.audit_entry_000000')).rejects.toThrow(/only be added to/)
    })
  })
})
