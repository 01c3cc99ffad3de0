import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { STATES, TRANSITIONS } from '../../src/domain/approval.ts'
import { agent, makeCall } from './parts.ts'
import { hold, openWorld, type World } from './world.ts'

describe('the states of an approval in the database', () => {
  let world: World
  beforeAll(async () => {
    world = await openWorld()
  })
  afterAll(() => world.close())

  it('have the same ways out as in the code', async () => {
    const { rows } = await world.store.database.query<{ from_state: string; event: string; to_state: string }>(
      'SELECT from_state, event, to_state FROM approval_transition ORDER BY from_state, event',
    )
    const known = Object.entries(TRANSITIONS).flatMap(([from_state, ways]) =>
      Object.entries(ways).map(([event, to_state]) => ({ from_state, event, to_state })),
    )
    known.sort((a, b) => (`${a.from_state} ${a.event}` < `${b.from_state} ${b.event}` ? -1 : 1))
    expect(rows).toEqual(known)
  })

  it('are those of the CHECK', async () => {
    const { rows } = await world.store.database.query<{ definition: string }>(
      `SELECT pg_get_constraintdef(oid) AS definition FROM pg_constraint
       WHERE conrelid = 'approval'::regclass AND conname = 'approval_state_check'`,
    )
    const named = [...(rows[0]?.definition.matchAll(/'(\w+)'/g) ?? [])].map((match) => match[1])
    expect(named.toSorted()).toEqual(STATES.toSorted())
  })

  it('cannot be left another way, even by an administrator', async () => {
    const { queue } = world.openReplica()
    const fields: Record<string, string> = {
      pending: 'decided_at = NULL, use_by = NULL',
      approved: `decided_at = now(), use_by = now() + interval '1 hour'`,
      spent: `decided_at = now(), use_by = now() + interval '1 hour', spent_at = now()`,
    }
    for (const from of STATES) {
      for (const to of STATES) {
        if (from === to) continue
        const approval = await hold(queue, makeCall({ principal: agent(`${from}-${to}`) }))
        const ending = fields[from] ?? 'decided_at = now()'
        await world.alter(`UPDATE countersign.approval SET state = '${from}', ${ending} WHERE id = '${approval.id}'`)
        const change = fields[to] ?? 'decided_at = now()'
        const moved = world
          .asSuperuser(
            'SET session_replication_role = replica',
            `UPDATE countersign.approval SET state = '${to}', ${change}
             WHERE id = '${approval.id}'`,
          )
          .then(
            () => true,
            () => false,
          )
        const isPossible = (Object.values(TRANSITIONS[from]) as string[]).includes(to)
        expect(await moved, `${from} to ${to}`).toBe(isPossible)
      }
    }
  })

  it('begin as pending, and no row is ever removed', async () => {
    const { queue } = world.openReplica()
    const { id } = await hold(queue, makeCall({ principal: agent('kept') }))
    const copy = `INSERT INTO approval SELECT (jsonb_populate_record(a, '{"id":"0000000000","state":"approved",
      "use_by":"2099-01-01","decided_at":"2026-01-01","match_key":"\\\\x${'00'.repeat(32)}"}')).* FROM approval a WHERE id = $1`
    await expect(world.store.database.query(copy, [id])).rejects.toThrow('begins as pending')
    await expect(world.store.database.query('DELETE FROM approval')).rejects.toThrow('permission denied')
    await expect(world.store.database.query('TRUNCATE vote')).rejects.toThrow('permission denied')
    await expect(world.asSuperuser('DELETE FROM countersign.approval')).rejects.toThrow('refused')
    await expect(world.asSuperuser('TRUNCATE countersign.approval CASCADE')).rejects.toThrow('refused')
  })

  it('do not let the gateway own anything', async () => {
    const { rows } = await world.store.database.query<{ relname: string }>(
      `SELECT relname FROM pg_class WHERE relnamespace = 'countersign'::regnamespace
         AND relname ~ '^(approval|vote|holder|idempotency|outbox|conversation|replica)'
         AND pg_has_role(current_user, relowner, 'MEMBER')`,
    )
    expect(rows).toEqual([])
  })

  it('allow one open approval for one call, whoever writes it', async () => {
    const { queue } = world.openReplica()
    const { id } = await hold(queue, makeCall({ principal: agent('once') }))
    const copy = `INSERT INTO approval SELECT (jsonb_populate_record(a, '{"id":"0000000001"}')).* FROM approval a WHERE id = $1`
    await expect(world.store.database.query(copy, [id])).rejects.toThrow('approval_open')
  })
})
