import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { asSuperuser } from './world.ts'

let store: TestDatabase
let gateway: pg.Client

beforeAll(async () => {
  store = await createTestDatabase()
  gateway = new pg.Client({ connectionString: store.url })
  await gateway.connect()
  await gateway.query(
    `SELECT countersign.append('{"at":"2026-01-01T00:00:00.000Z","kind":"held"}', null, null, null, null)`,
  )
})
afterAll(async () => {
  await gateway.end()
  await store.close()
})

describe('the gateway’s login', () => {
  it.each([
    `INSERT INTO countersign.audit_entry (seq, at, kind, body, hash) VALUES (2, now(), 'held', '', '')`,
    `INSERT INTO countersign.audit_entry_000000 (seq, at, kind, body, hash) VALUES (2, now(), 'held', '', '')`,
    `UPDATE countersign.audit_entry SET kind = 'vote'`,
    'DELETE FROM countersign.audit_entry',
    'DELETE FROM countersign.audit_entry_000000',
    'TRUNCATE countersign.audit_entry',
    'DROP TABLE countersign.audit_entry_000000',
    'ALTER TABLE countersign.audit_entry ADD COLUMN note text',
    'ALTER TABLE countersign.audit_entry DISABLE TRIGGER ALL',
    'ALTER TABLE countersign.audit_entry DETACH PARTITION countersign.audit_entry_000000',
    'SET session_replication_role = replica',
    'SET ROLE countersign_owner',
    'SET SESSION AUTHORIZATION countersign_owner',
    'SELECT FROM countersign.audit_entry FOR UPDATE',
    'LOCK TABLE countersign.audit_entry IN EXCLUSIVE MODE',
    'SELECT FROM countersign.audit_head',
    'SELECT FROM countersign.audit_head FOR UPDATE',
    'LOCK TABLE countersign.audit_head IN ACCESS SHARE MODE',
    'UPDATE countersign.audit_head SET seq = 0',
    `UPDATE countersign.audit_personal SET value = 'x'`,
    'DELETE FROM countersign.audit_personal',
    `INSERT INTO countersign.audit_personal (commitment, salt, field, value) VALUES ('', '', '', '')`,
    `SELECT countersign.erase_personal('x')`,
    'SELECT countersign.add_audit_partition(99999999)',
    'CREATE TABLE countersign.mine ()',
    `CREATE FUNCTION countersign.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'`,
    `CREATE OR REPLACE FUNCTION countersign.refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'`,
    'DROP FUNCTION countersign.refuse_change()',
    'DELETE FROM countersign.suspension',
    `INSERT INTO countersign.suspension (issuer, subject, by_issuer, by_subject) VALUES ('a', 'b', 'c', 'd')`,
    'UPDATE countersign.store_acknowledgement SET at_ms = 0',
    'DELETE FROM countersign.store_acknowledgement',
    `COPY countersign.audit_entry TO PROGRAM 'cat'`,
  ])('is refused: %s', async (statement) => {
    await gateway.query('BEGIN')
    try {
      // Insufficient privilege; a relation that is not the caller's to see is refused in the same way.
      await expect(gateway.query(statement)).rejects.toMatchObject({ code: '42501' })
    } finally {
      await gateway.query('ROLLBACK')
    }
  })

  it('can append, read the log, and suspend and resume agents', async () => {
    await gateway.query(
      `SELECT countersign.append('{"at":"2026-01-01T00:00:00.000Z","kind":"vote"}', null, null, null, null)`,
    )
    const { rows } = await gateway.query('SELECT kind FROM countersign.audit_log ORDER BY seq')
    expect(rows).toEqual([{ kind: 'held' }, { kind: 'vote' }])

    await gateway.query('LISTEN countersign_suspension')
    const heard = new Promise((resolve) => gateway.once('notification', ({ payload }) => resolve(payload)))
    const suspended = await gateway.query(`SELECT * FROM countersign.suspend_agent('i', 's', 'p', 'rita', 'runaway')`)
    expect(suspended.rows).toEqual([{ is_changed: true, epoch: '1' }])
    expect(await heard).toBe('1')
    const again = await gateway.query(`SELECT * FROM countersign.suspend_agent('i', 's', 'p', 'raul', null)`)
    expect(again.rows).toEqual([{ is_changed: false, epoch: '2' }])
    const list = await gateway.query('SELECT issuer, subject, by_subject, reason FROM countersign.suspension')
    expect(list.rows).toEqual([{ issuer: 'i', subject: 's', by_subject: 'rita', reason: 'runaway' }])
    const resumed = await gateway.query(`SELECT * FROM countersign.resume_agent('i', 's')`)
    expect(resumed.rows).toEqual([{ is_changed: true, epoch: '3' }])
    expect((await gateway.query('SELECT epoch FROM countersign.suspension_epoch')).rows).toEqual([{ epoch: '3' }])
  })

  it('cannot shadow what the append function calls', async () => {
    await gateway.query(`CREATE TEMP TABLE audit_head AS SELECT 0 AS seq`)
    await gateway.query(`SET search_path = pg_temp, countersign`)
    const { rows } = await gateway.query(
      `SELECT first_seq FROM countersign.append('{"at":"2026-01-01T00:00:00.000Z","kind":"vote"}', null, null, null, null)`,
    )
    expect(Number(rows[0].first_seq)).toBeGreaterThan(1)
    await gateway.query('RESET search_path; DROP TABLE pg_temp.audit_head')
  })
})

describe('an auditor', () => {
  it('reads the view and what verifying needs, and changes nothing', async () => {
    await asSuperuser(store.adminUrl, async (client) => {
      await client.query('SET ROLE countersign_auditor')
      await client.query('SELECT * FROM countersign.audit_log')
      await client.query('SELECT * FROM countersign.audit_entry')
      await client.query('SELECT * FROM countersign.store_state(0)')
      for (const statement of [
        `SELECT countersign.append('{}', null, null, null, null)`,
        'DELETE FROM countersign.audit_entry',
        'SELECT FROM countersign.audit_head',
      ]) {
        await expect(client.query(statement)).rejects.toMatchObject({ code: '42501' })
      }
    })
  })
})

describe('a superuser', () => {
  it.each([
    ['origin', 'DELETE FROM countersign.audit_entry'],
    ['origin', `UPDATE countersign.audit_entry SET kind = 'vote'`],
    ['origin', 'TRUNCATE countersign.audit_entry'],
    ['replica', 'DELETE FROM countersign.audit_entry'],
    ['replica', 'DELETE FROM countersign.audit_entry_000000'],
    ['replica', `UPDATE countersign.audit_entry_000000 SET kind = 'vote'`],
    ['replica', 'TRUNCATE countersign.audit_entry'],
    ['replica', 'TRUNCATE countersign.audit_entry_000000'],
    ['replica', `UPDATE countersign.audit_personal SET value = 'x'`],
  ])('is stopped by a trigger in session_replication_role %s: %s', async (role, statement) => {
    await asSuperuser(store.adminUrl, async (client) => {
      await client.query(
        `INSERT INTO countersign.audit_personal (commitment, salt, field, value)
         VALUES ('x', decode(repeat('00', 32), 'hex'), 'party', 'y') ON CONFLICT DO NOTHING`,
      )
      await client.query(`SET session_replication_role = ${role}`)
      await expect(client.query(statement)).rejects.toThrow(/only be added to/)
    })
  })
})
