import { copyFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { newCallId } from '../../src/platform/id.ts'
import { asSuperuser, intentOf, openGateway, outcomeOf, temporaryDirectory } from '../audit/world.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'

type Gateway = Awaited<ReturnType<typeof openGateway>>

let store: TestDatabase
let directories: { path: string; remove(): Promise<void> }[]
let gateway: Gateway

beforeEach(async () => {
  store = await createTestDatabase()
  const first = await temporaryDirectory()
  directories = [first]
  gateway = await openGateway({ url: store.url, dataDir: first.path })
})
afterEach(async () => {
  await gateway.close()
  await store.close()
  await Promise.all(directories.map(({ remove }) => remove()))
})

async function secondDirectory() {
  const second = await temporaryDirectory()
  directories.push(second)
  await gateway.guard.persist()
  await copyFile(gateway.headPath, `${second.path}/head.json`)
  return second
}

/** The end of the chain, as if it were the entry's own. */
const HEAD = '(SELECT h.seq AS first_seq, h.seq AS last_seq, h.hash, h.epoch, h.erasures FROM countersign.audit_head h)'

/** Wraps `append`, so that entries that mention something are answered as if they were chained, and are not. */
async function dropEntriesAbout(what: string, instead = HEAD): Promise<void> {
  await asSuperuser(store.adminUrl, async (client) => {
    await client.query('ALTER FUNCTION countersign.append(text, text, bigint, bytea, text) RENAME TO honest_append')
    await client.query(`
      CREATE FUNCTION countersign.append(
        batch text, personal text, known_seq bigint, known_hash bytea, known_timeline text,
        OUT first_seq bigint, OUT last_seq bigint, OUT hash bytea, OUT epoch bigint, OUT erasures bigint
      ) LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
      BEGIN
        IF batch LIKE '%${what}%' THEN
          SELECT a.first_seq, a.last_seq, a.hash, a.epoch, a.erasures
            INTO first_seq, last_seq, hash, epoch, erasures FROM ${instead.replace(/^honest/, 'countersign.honest')} a;
        ELSE
          SELECT a.first_seq, a.last_seq, a.hash, a.epoch, a.erasures
            INTO first_seq, last_seq, hash, epoch, erasures
            FROM countersign.honest_append(batch, personal, NULL, NULL, NULL) a;
        END IF;
      END $$`)
    await client.query('GRANT EXECUTE ON FUNCTION countersign.append TO countersign_gateway')
  })
}

describe('a superuser of the store, who replaces what chains the entries', () => {
  it('cannot leave an entry out and say that it is there', async () => {
    const one = await gateway.audit.intent(intentOf())
    await gateway.audit.append(outcomeOf(one.callId))
    await gateway.guard.check()
    const callId = newCallId()
    await dropEntriesAbout(callId)
    await gateway.audit.intent(intentOf({ callId }))
    await gateway.guard.check()
    expect(gateway.guard.isAcknowledged()).toBe(false)
    await expect(gateway.audit.intent(intentOf())).rejects.toMatchObject({ code: 'store' })
  })

  it('cannot pass another entry off as the one that it left out', async () => {
    await gateway.audit.intent(intentOf())
    await gateway.guard.check()
    const callId = newCallId()
    await dropEntriesAbout(
      callId,
      `honest_append('{"kind":"malformed","at":"2026-01-01T00:00:00.000Z","v":1}',
      NULL, NULL, NULL, NULL)`,
    )
    await gateway.audit.intent(intentOf({ callId }))
    await gateway.guard.check()
    expect(gateway.guard.isAcknowledged()).toBe(false)
  })

  it('cannot release a spent approval without its entry', async () => {
    await gateway.audit.intent(intentOf())
    await gateway.guard.check()
    const callId = newCallId()
    await dropEntriesAbout(
      callId,
      `honest_append('{"kind":"malformed","at":"2026-01-01T00:00:00.000Z","v":1}',
      NULL, NULL, NULL, NULL)`,
    )
    const { seq } = await gateway.database.transaction((tx) =>
      gateway.audit.within(tx, [{ kind: 'spent', callId, approvalId: 'ABCDEFGH12' }]),
    )
    await expect(gateway.guard.persist(seq)).rejects.toMatchObject({ code: 'store' })
  })
})

describe('an honest store', () => {
  it('is trusted on, with several processes that write at once, also in transactions that are rolled back', async () => {
    const other = await openGateway({ url: store.url, dataDir: (await secondDirectory()).path })
    const work = [gateway, other].flatMap(({ audit, database, guard }) =>
      Array.from({ length: 40 }, async (_, index) => {
        const { callId } = await audit.intent(intentOf())
        if (index % 4 === 0) {
          const { seq } = await database.transaction((tx) => audit.within(tx, [{ kind: 'spent', callId }]))
          await guard.persist(seq)
        }
        if (index % 5 === 0) {
          const failed = database.transaction(async (tx) => {
            await audit.within(tx, [{ kind: 'vote', callId }])
            throw new Error('rolled back')
          })
          await expect(failed).rejects.toThrow('rolled back')
        }
        await audit.append(outcomeOf(callId))
        await guard.check()
      }),
    )
    await Promise.all(work)
    for (const { guard } of [gateway, other]) {
      await guard.check()
      expect(guard.isAcknowledged()).toBe(true)
    }
    await other.close()
  })
})
