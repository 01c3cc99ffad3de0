import pg from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { countersign, type Replica } from './replica.ts'
import { policyOf, problemOf, startWorld, type World } from './world.ts'

const NO_PRIVILEGE = '42501'

let store: TestDatabase
let world: World
let gateway: Replica
/** Somebody with the password of the gateway's own login. */
let thief: pg.Pool
beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  gateway = await world.start()
  thief = new pg.Pool({ connectionString: store.url, options: '-c search_path=countersign' })
})
afterAll(async () => {
  await thief?.end()
  await world?.[Symbol.asyncDispose]()
  await store?.close()
})

async function sqlStateOf(sql: string, params: readonly unknown[] = []): Promise<string> {
  try {
    await thief.query(sql, [...params])
    return 'done'
  } catch (error) {
    if (error instanceof pg.DatabaseError) return error.code ?? 'none'
    throw error
  }
}

const APPROVE = `UPDATE approval SET state = 'approved', decided_at = now(), use_by = now() + interval '1 hour'
  WHERE id = $1`

/** A vote as a person cast it on another approval, or with its signature, put under this one. */
const COPY_VOTE = `INSERT INTO vote SELECT $1, issuer, subject, decision, reason, name, groups, roles, assurance,
    authenticated_at, via, card_hash, at, kid, mac FROM vote WHERE approval = $2`

/** Holds a call, lets its record be altered, and comes back for it; what the agent is told. */
async function alter(path: string, how: (id: string) => Promise<void>) {
  const id = await world.abandon(gateway, path)
  await how(id)
  const told = await problemOf(await world.call(gateway, path, { headers: { prefer: 'wait=0' } }))
  expect(told.status).toBe(403)
  expect(world.arrivals(path)).toBe(0)
  return { id, told }
}

describe('somebody with the password of the gateway’s database login', () => {
  it('mints no approval by writing that it is approved', async () => {
    const { id, told } = await alter('/refunds/minted', async (id) =>
      expect(await sqlStateOf(APPROVE, [id])).toBe('done'),
    )
    expect(told).toMatchObject({ code: 'withdrawn', approval: id })
  })

  it('mints none while its client waits either', async () => {
    const held = world.call(gateway, '/refunds/waiting')
    const id = await world.approvalOf('/refunds/waiting')
    expect(await sqlStateOf(APPROVE, [id])).toBe('done')
    await thief.query(`SELECT pg_notify('countersign_approval', $1)`, [id])
    expect(await problemOf(await held)).toMatchObject({ code: 'withdrawn', approval: id })
    expect(world.arrivals('/refunds/waiting')).toBe(0)
  })

  it('mints none by adding votes, made up or copied from another approval', async () => {
    const held = world.call(gateway, '/refunds/genuine')
    const genuine = await world.approvalOf('/refunds/genuine')
    await world.approve(gateway, genuine)
    expect((await held).status).toBe(200)

    const copied = await alter('/refunds/copied', async (id) => {
      expect(await sqlStateOf(COPY_VOTE, [id, genuine])).toBe('done')
      expect(await sqlStateOf(APPROVE, [id])).toBe('done')
    })
    expect(copied.told).toMatchObject({ code: 'withdrawn', approval: copied.id })

    const made = await alter('/refunds/made', async (id) => {
      const values = [id, world.issuer, Buffer.alloc(32)]
      const sql = `INSERT INTO vote VALUES ($1, $2, 'finn', 'approve', NULL, 'Finn',
        '[{"issuerName":"idp","name":"finance"}]', '["reviewer"]', 'oidc', NULL, 'api',
        (SELECT card_hash FROM approval WHERE id = $1), now(), (SELECT kid FROM approval WHERE id = $1), $3)`
      expect(await sqlStateOf(sql, values)).toBe('done')
      expect(await sqlStateOf(APPROVE, [id])).toBe('done')
    })
    expect(made.told).toMatchObject({ code: 'withdrawn', approval: made.id })
  })

  it.each([
    ['requester', `requester || '{"subject":"somebody-else"}'`],
    ['requirements', `'[]'`],
    ['match_key', `sha256('another call')`],
    ['digest', `sha256('another call')`],
  ])('may not change what an approval is about: %s', async (column, value) => {
    const { id } = await alter(`/refunds/altered-${column}`, async (id) => {
      expect(await sqlStateOf(`UPDATE approval SET ${column} = ${value} WHERE id = $1`, [id])).toBe(NO_PRIVILEGE)
    })
    expect(id).toBe(await world.approvalOf(`/refunds/altered-${column}`))
  })

  it('gains nothing by a copy of an approval that is about something else', async () => {
    const clone = (
      column: string,
      value: string,
    ) => `INSERT INTO approval (id, call_id, principal_key, requester, upstream,
        verb, resource, rules, requirements, match_key, digest, card_hash, use_within_ms, created_at, expires_at, kid, mac,
        audience, owner, is_detached, sealed_call, sealed_card, wrapped_key, stored_bytes)
      SELECT $2, (c).call_id, (c).principal_key, (c).requester, (c).upstream, (c).verb, (c).resource, (c).rules,
        (c).requirements, (c).match_key, (c).digest, (c).card_hash, (c).use_within_ms, (c).created_at, (c).expires_at,
        (c).kid, (c).mac, (c).audience, (c).owner, true, (c).sealed_call, (c).sealed_card, (c).wrapped_key,
        (c).stored_bytes
      FROM (SELECT jsonb_populate_record(a, jsonb_build_object('${column}', ${value}, 'match_key', sha256('free')::text)) AS c
        FROM approval a WHERE id = $1) cloned`
    for (const [index, [column, value]] of [
      ['requester', `requester || '{"subject":"somebody-else"}'`],
      ['requirements', `'[]'::jsonb`],
      ['digest', `sha256('another call')::text`],
    ].entries()) {
      const path = `/refunds/cloned-${column}`
      const fake = `AAAAAAAAA${index}`
      const { id } = await alter(path, async (id) => {
        expect(await sqlStateOf(clone(column ?? '', value ?? ''), [id, fake])).toBe('done')
        expect(await sqlStateOf(APPROVE, [fake])).toBe('done')
      })
      // The runner carries out what is detached and approved, and finds that nobody of ours wrote this.
      expect(
        await world.until(`SELECT state, reason FROM countersign.approval WHERE id = $1 AND state <> 'approved'`, [
          fake,
        ]),
      ).toEqual({ state: 'withdrawn', reason: 'tampered' })
      expect(id).toBe(await world.approvalOf(path))
      expect(world.arrivals(path)).toBe(0)
    }
  })

  it('has other bytes forwarded neither in place of those that were approved nor as them', async () => {
    const other = await world.abandon(gateway, '/refunds/other-bytes')
    for (const columns of ['sealed_call', 'sealed_call, wrapped_key', 'sealed_call, sealed_card, wrapped_key']) {
      const path = `/refunds/stored-bytes-${columns.length}`
      const id = await world.abandon(gateway, path)
      await world.approve(gateway, id)
      const swap = `UPDATE approval SET (${columns}) = (SELECT ${columns} FROM approval WHERE id = $2) WHERE id = $1`
      expect(await sqlStateOf(swap, [id, other])).toBe('done')
      const told = await problemOf(await world.call(gateway, path, { headers: { prefer: 'wait=0' } }))
      expect(told).toMatchObject({ status: 503, code: 'unavailable' })
      expect(world.arrivals(path) + world.arrivals('/refunds/other-bytes')).toBe(0)
    }
  })

  it('brings in no policy, neither a new one nor an old one again', async () => {
    const allow = JSON.stringify({ policies: [{ name: 'all', rules: [{ name: 'all', effect: 'allow' }] }] })
    await thief.query(
      `INSERT INTO policy_set SELECT 2, encode(sha256($1::bytea), 'hex'), $1::bytea, published_at, published_by, kid, mac
       FROM policy_set WHERE version = 1`,
      [Buffer.from(allow)],
    )
    await thief.query(`SELECT pg_notify('countersign_policy', '2')`)
    await gateway.logged('a policy set in the store carries no valid MAC and is ignored')
    const held = await problemOf(await world.call(gateway, '/refunds/allowed', { headers: { prefer: 'wait=0' } }))
    expect(held).toMatchObject({ status: 403, code: 'approval_pending' })

    await world.writePolicy(policyOf({ quorum: 2 }))
    gateway.signal('SIGHUP')
    const { version } = await world.until<{ version: string }>(
      'SELECT version FROM countersign.policy_set WHERE version > 2',
    )
    await thief.query(
      `INSERT INTO policy_set SELECT $1::bigint + 1, hash, canonical, published_at, published_by, kid, mac FROM policy_set
       WHERE version = 1`,
      [version],
    )
    await thief.query(`SELECT pg_notify('countersign_policy', '9')`)
    // On record a moment before it decides.
    await gateway.logged('a policy set is active', { version: Number(version) })
    const retry = world.call(gateway, '/refunds/old-policy')
    const id = await world.approvalOf('/refunds/old-policy')
    await world.approve(gateway, id, 'finn')
    expect(await world.approvalOf('/refunds/old-policy')).toBe(id)
    await world.approve(gateway, id, 'fay')
    expect((await retry).status).toBe(200)
  })

  it('may neither change, delete nor truncate an entry', async () => {
    const partition = `audit_entry_${'0'.repeat(6)}`
    for (const table of ['audit_entry', partition]) {
      expect(await sqlStateOf(`UPDATE ${table} SET rule = 'billing/none' WHERE seq = 3`)).toBe(NO_PRIVILEGE)
      expect(await sqlStateOf(`DELETE FROM ${table} WHERE seq = 3`)).toBe(NO_PRIVILEGE)
      expect(await sqlStateOf(`TRUNCATE ${table}`)).toBe(NO_PRIVILEGE)
      expect(await sqlStateOf(`INSERT INTO ${table} SELECT * FROM audit_entry WHERE seq = 3`)).toBe(NO_PRIVILEGE)
    }
    expect(await sqlStateOf('UPDATE audit_head SET seq = 1')).toBe(NO_PRIVILEGE)
    expect(await sqlStateOf('DELETE FROM audit_personal')).toBe(NO_PRIVILEGE)
    expect(await sqlStateOf('SET session_replication_role = replica')).toBe(NO_PRIVILEGE)
    expect(await sqlStateOf('SET ROLE countersign_owner')).toBe(NO_PRIVILEGE)
  })
})

describe('a superuser of the store', () => {
  it('is refused by the triggers, and named by the verifier once they are out of the way', async () => {
    const verify = () => countersign('audit', 'verify', '--config', gateway.configFile)
    const change = `UPDATE countersign.audit_entry SET rule = 'billing/none' WHERE seq = 3`
    expect(await verify()).toMatchObject({ code: 0 })
    await expect(world.admin.query(change)).rejects.toThrow('can only be added to')
    await expect(world.admin.query('TRUNCATE countersign.audit_entry')).rejects.toThrow('can only be added to')
    const table = 'ALTER TABLE countersign.audit_entry'
    await world.admin.query(`${table} DISABLE TRIGGER USER; ${change}; ${table} ENABLE TRIGGER USER`)
    expect(await verify()).toMatchObject({
      code: 10,
      out: expect.stringMatching(/^altered[^\n]*\n {2}entry 3: altered: its column rule differs/),
    })
  })
})
