import { copyFile, readFile, rm, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { signHead } from '../../src/audit/head.ts'
import { recover } from '../../src/audit/recover.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import {
  asSuperuser,
  copyDatabase,
  intentOf,
  keys,
  makeKeys,
  openGateway,
  outcomeOf,
  temporaryDirectory,
} from './world.ts'

type Gateway = Awaited<ReturnType<typeof openGateway>>

let store: TestDatabase
let dirs: { path: string; remove(): Promise<void> }[]
let gateways: Gateway[]

beforeEach(async () => {
  store = await createTestDatabase()
  dirs = [await temporaryDirectory()]
  gateways = []
})
afterEach(async () => {
  await Promise.all(gateways.map((gateway) => gateway.close()))
  await store.close()
  await Promise.all(dirs.map(({ remove }) => remove()))
})

async function open(options: Partial<Parameters<typeof openGateway>[0]> = {}): Promise<Gateway> {
  const gateway = await openGateway({ url: store.url, dataDir: dirs[0]?.path ?? '', ...options })
  gateways.push(gateway)
  return gateway
}

async function close(gateway: Gateway): Promise<void> {
  gateways = gateways.filter((other) => other !== gateway)
  await gateway.close()
}

/** Forgets the newest entries, and the end of the chain with them: what a restore from an older copy looks like. */
async function restoreTo(seq: number): Promise<void> {
  await asSuperuser(store.adminUrl, async (client) => {
    for (const table of ['audit_entry', 'audit_entry_000000']) {
      await client.query(`ALTER TABLE countersign.${table} DISABLE TRIGGER ALL`)
    }
    await client.query('DELETE FROM countersign.audit_entry WHERE seq > $1', [seq])
    await client.query('DELETE FROM countersign.store_acknowledgement WHERE seq > $1', [seq])
    await client.query(
      `UPDATE countersign.audit_head SET seq = $1,
         hash = coalesce((SELECT hash FROM countersign.audit_entry WHERE seq = $1), sha256(''))`,
      [seq],
    )
    for (const table of ['audit_entry', 'audit_entry_000000']) {
      for (const trigger of ['audit_entry_is_final', 'audit_entry_stays']) {
        await client.query(`ALTER TABLE countersign.${table} ENABLE ALWAYS TRIGGER ${trigger}`)
      }
    }
  })
}

async function kinds(): Promise<string[]> {
  const { rows } = await store.database.query<{ kind: string }>('SELECT kind FROM countersign.audit_entry ORDER BY seq')
  return rows.map(({ kind }) => kind)
}

const recoverIn = (dataDir: string) =>
  recover({
    database: store.database,
    keys,
    path: `${dataDir}/head.json`,
    clock: systemClock,
    reason: 'restored last night’s copy',
    withdrawAll: async () => [],
  })

describe('a store that is the one it was', () => {
  it('is acknowledged, when it is empty and after every restart', async () => {
    const first = await open()
    expect(first.guard.isAcknowledged()).toBe(true)
    await first.audit.append(intentOf())
    await close(first)
    const second = await open()
    expect(second.guard.isAcknowledged()).toBe(true)
    await second.audit.append(intentOf())
  })

  it('is written down durably before persist returns, entries of others and of transactions too', async () => {
    const gateway = await open({ pollMs: 60_000 })
    const { seq, hash } = await gateway.database.transaction((tx) => gateway.audit.within(tx, [{ kind: 'spent' }]))
    await gateway.guard.persist()
    expect(JSON.parse(await readFile(gateway.headPath, 'utf8'))).toMatchObject({ seq, hash })
  })

  it('is written down within moments while entries flow, and at the end', async () => {
    const gateway = await open({ pollMs: 20 })
    await gateway.audit.append(intentOf())
    await vi.waitFor(async () => expect(JSON.parse(await readFile(gateway.headPath, 'utf8'))).toMatchObject({ seq: 1 }))
    await gateway.audit.append(intentOf())
    await close(gateway)
    expect(JSON.parse(await readFile(gateway.headPath, 'utf8'))).toMatchObject({ seq: 2 })
  })
})

describe('a store that is another or an earlier one', () => {
  async function fill(entries: number): Promise<void> {
    const gateway = await open()
    for (let entry = 0; entry < entries; entry++) await gateway.audit.append(intentOf())
    await close(gateway)
  }

  async function expectRefused(gateway: Gateway): Promise<void> {
    expect(gateway.guard.isAcknowledged()).toBe(false)
    await expect(gateway.audit.intent(intentOf())).rejects.toMatchObject({ code: 'store' })
    const spend = gateway.database.transaction((tx) => gateway.audit.within(tx, [{ kind: 'spent' }]))
    await expect(spend).rejects.toMatchObject({ code: 'store' })
    await expect(gateway.guard.persist()).rejects.toMatchObject({ code: 'store' })
  }

  it('refuses calls after a restore that lost entries, withdraws what was open, and says so in the log', async () => {
    await fill(5)
    await restoreTo(3)
    const withdrawOlder = vi.fn(async (_: number) => {})
    const gateway = await open({ withdrawOlder })
    await expectRefused(gateway)
    await vi.waitFor(async () => expect(await kinds()).toEqual(['intent', 'intent', 'intent', 'store_failover']))
    expect(withdrawOlder).toHaveBeenCalledOnce()
    expect(withdrawOlder.mock.calls[0]?.[0]).toBeLessThanOrEqual(Date.now())
  })

  it('tries to withdraw again when that failed, and takes no call before', async () => {
    await fill(2)
    await restoreTo(1)
    let attempts = 0
    const gateway = await open({
      withdrawOlder: async () => {
        attempts++
        if (attempts < 3) throw new Error('no luck')
      },
    })
    await recoverIn(dirs[0]?.path ?? '')
    await vi.waitFor(() => expect(gateway.guard.isAcknowledged()).toBe(true))
    expect(attempts).toBe(3)
  })

  it('notices at the next entry when it happens under a running gateway', async () => {
    const gateway = await open({ pollMs: 60_000 })
    for (let entry = 0; entry < 3; entry++) await gateway.audit.append(intentOf())
    await restoreTo(1)
    await expect(gateway.audit.intent(intentOf())).rejects.toMatchObject({ code: 'audit' })
    await expectRefused(gateway)
    await vi.waitFor(async () => expect(await kinds()).toEqual(['intent', 'store_failover']))
  })

  it('notices it in a caller’s transaction too', async () => {
    const gateway = await open({ pollMs: 60_000 })
    for (let entry = 0; entry < 3; entry++) await gateway.audit.append(intentOf())
    await restoreTo(1)
    await expect(
      gateway.database.transaction((tx) => gateway.audit.within(tx, [{ kind: 'spent' }])),
    ).rejects.toMatchObject({ code: 'audit' })
    await vi.waitFor(() => expect(gateway.guard.isAcknowledged()).toBe(false))
  })

  it('notices other entries in the place of its own', async () => {
    await fill(3)
    await restoreTo(1)
    const entry = '{"at":"2026-01-01T00:00:00.000Z","kind":"held"}'
    await store.database.query('SELECT countersign.append($1, null, null, null, null)', [
      `${entry}\n${entry}\n${entry}`,
    ])
    const gateway = await open()
    await expectRefused(gateway)
    await vi.waitFor(async () => {
      const { rows } = await store.database.query<{ body: Buffer }>(
        `SELECT body FROM countersign.audit_entry WHERE kind = 'store_failover'`,
      )
      expect(JSON.parse(String(rows[0]?.body))).toMatchObject({ detail: { doubt: 'forked', known: { seq: 3 } } })
    })
  })

  it('still records what became of calls that were under way', async () => {
    const gateway = await open({ pollMs: 60_000 })
    const { callId } = await gateway.audit.intent(intentOf())
    await gateway.audit.append(intentOf())
    await restoreTo(1)
    await gateway.audit.append(outcomeOf(callId))
    expect(await kinds()).toContain('outcome')
    expect(gateway.guard.isAcknowledged()).toBe(false)
  })

  it.each([
    ['another cluster', { system_identifier: '1234' }],
    ['another timeline', { timeline: '0000000A' }],
  ])('refuses calls on %s', async (_, change) => {
    const gateway = await open()
    await gateway.audit.append(intentOf())
    await close(gateway)
    const file = { ...JSON.parse(await readFile(gateway.headPath, 'utf8')), ...change }
    const head = {
      systemIdentifier: file.system_identifier,
      timeline: file.timeline,
      seq: file.seq,
      hash: Buffer.from(file.hash, 'hex'),
      atMs: file.at,
    }
    await writeFile(gateway.headPath, signHead(head, keys.checkpoint))
    await expectRefused(await open())
  })

  it('refuses calls where the record is missing, until one is given or the store is recovered', async () => {
    await fill(2)
    dirs.push(await temporaryDirectory(), await temporaryDirectory())
    const [first, second, third] = dirs.map(({ path }) => path) as [string, string, string]
    const replica = await open({ dataDir: second })
    await expectRefused(replica)
    await recoverIn(second)
    await vi.waitFor(() => expect(replica.guard.isAcknowledged()).toBe(true))

    await copyFile(`${first}/head.json`, `${third}/head.json`)
    expect((await open({ dataDir: third })).guard.isAcknowledged()).toBe(true)
  })

  it.each([
    ['is damaged', async (path: string) => writeFile(path, '{"version":1')],
    [
      'was edited',
      async (path: string) => writeFile(path, (await readFile(path, 'utf8')).replace('"seq":2', '"seq":1')),
    ],
  ])('refuses calls where the record %s', async (_, change) => {
    await fill(2)
    await change(`${dirs[0]?.path}/head.json`)
    await expectRefused(await open())
  })

  it('records at its end what was chained inside transactions, and never less than another process recorded', async () => {
    const gateway = await open()
    const command = await open()
    const recorded = async (): Promise<number> => JSON.parse(await readFile(gateway.headPath, 'utf8')).seq
    const { seq } = await gateway.database.transaction((tx) => gateway.audit.within(tx, [intentOf()]))
    await close(gateway)
    expect(await recorded()).toBe(seq)
    await close(command)
    expect(await recorded()).toBe(seq)
  })

  it('refuses calls where the record was signed by a key that is not ours', async () => {
    await fill(2)
    await expectRefused(await open({ keys: makeKeys() }))
  })

  it('refuses calls on a copy of the database that was made before the last entries', async () => {
    await fill(2)
    await store.database.close()
    const copy = await copyDatabase(store)
    await fill(1)
    const gateway = await open({ url: copy.url })
    await expectRefused(gateway)
    await close(gateway)
    await copy.close()
  })

  it('refuses calls where the store came back empty', async () => {
    await fill(2)
    await restoreTo(0)
    await expectRefused(await open())
  })
})

describe('an operator’s acknowledgement', () => {
  async function twoGateways() {
    dirs.push(await temporaryDirectory())
    const [first, second] = dirs.map(({ path }) => path) as [string, string]
    const a = await open({ dataDir: first })
    for (let entry = 0; entry < 4; entry++) await a.audit.append(intentOf())
    await a.guard.persist()
    await copyFile(`${first}/head.json`, `${second}/head.json`)
    const b = await open({ dataDir: second })
    return { a, b, first, second }
  }

  it('lets every replica go on, not only the one it was given to', async () => {
    const { a, b, first } = await twoGateways()
    await restoreTo(2)
    await vi.waitFor(() => {
      expect(a.guard.isAcknowledged()).toBe(false)
      expect(b.guard.isAcknowledged()).toBe(false)
    })
    const recovered = await recoverIn(first)
    expect(recovered.known?.seq).toBe(4)
    await vi.waitFor(() => {
      expect(a.guard.isAcknowledged()).toBe(true)
      expect(b.guard.isAcknowledged()).toBe(true)
    })
    await Promise.all([a.audit.intent(intentOf()), b.audit.intent(intentOf())])
    expect(await kinds()).toContain('store_recovered')
  })

  it('withdraws what was open in the transaction that records it', async () => {
    await open()
    const withdrawAll = vi.fn(async () => [])
    await recover({
      database: store.database,
      keys,
      path: `${dirs[0]?.path}/head.json`,
      clock: systemClock,
      withdrawAll,
    })
    expect(withdrawAll).toHaveBeenCalledOnce()
  })

  it('is not taken from before what was lost', async () => {
    const { a, b, first } = await twoGateways()
    await recoverIn(first)
    const { seq } = await a.audit.append(intentOf())
    await a.audit.append(intentOf())
    await Promise.all([a.guard.persist(), b.guard.persist()])
    await restoreTo(seq)
    await Promise.all([a.guard.check(), b.guard.check()])
    await Promise.all([a.guard.check(), b.guard.check()])
    expect(a.guard.isAcknowledged()).toBe(false)
    expect(b.guard.isAcknowledged()).toBe(false)
  })

  it('is not taken from whoever writes to the database without our keys', async () => {
    const { a } = await twoGateways()
    await restoreTo(2)
    await recover({
      database: store.database,
      keys: makeKeys(),
      path: `${dirs[1]?.path}/other.json`,
      clock: systemClock,
      withdrawAll: async () => [],
    })
    await a.guard.check()
    await a.guard.check()
    expect(a.guard.isAcknowledged()).toBe(false)
  })

  it('is recorded in the data directory, so that a gateway starts there afterwards', async () => {
    const gateway = await open()
    await gateway.audit.append(intentOf())
    await close(gateway)
    await rm(gateway.headPath)
    await recoverIn(dirs[0]?.path ?? '')
    const next = await open()
    expect(next.guard.isAcknowledged()).toBe(true)
    expect(await kinds()).toEqual(['intent', 'store_recovered'])
  })
})
