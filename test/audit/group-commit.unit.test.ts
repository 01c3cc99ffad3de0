import { describe, expect, it, vi } from 'vitest'
import { createGroupCommit, LIMITS, type Limits } from '../../src/audit/group-commit.ts'
import type { Batch, Link } from '../../src/audit/store.ts'
import { GatewayError } from '../../src/domain/error.ts'
import { systemClock } from '../../src/platform/clock.ts'

function start(send: (batch: Batch, attempt: number) => Promise<void>, limits: Limits = LIMITS) {
  let seq = 0
  let attempts = 0
  const batches: string[][] = []
  const doubted = vi.fn(async () => {})
  const group = createGroupCommit({
    clock: systemClock,
    limits,
    async send(batch): Promise<Link> {
      const bodies = batch.bodies.split('\n')
      batches.push(bodies)
      await send(batch, ++attempts)
      const firstSeq = seq + 1
      seq += bodies.length
      return { firstSeq, seq, hash: Buffer.alloc(32), epoch: 0, erasures: 0 }
    },
    committed: () => {},
    doubted,
  })
  const add = (text: string, again: string | null = null) =>
    group.add({ body: { text, fresh: [] }, again: again === null ? null : () => ({ text: again, fresh: [] }) })
  return { group, add, batches, doubted }
}

const unreachable = () => new GatewayError('store', 'gone')

describe('a group commit', () => {
  it('sends one batch for all that are added together, and the next for what gathered meanwhile', async () => {
    let release = () => {}
    const { add, batches } = start((_, attempt) =>
      attempt === 1
        ? new Promise((resolve) => {
            release = resolve
          })
        : Promise.resolve(),
    )
    const first = [add('a'), add('b')]
    await vi.waitFor(() => expect(batches).toEqual([['a', 'b']]))
    const second = [add('c'), add('d'), add('e')]
    release()
    expect((await Promise.all([...first, ...second])).map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5])
    expect(batches).toEqual([
      ['a', 'b'],
      ['c', 'd', 'e'],
    ])
  })

  it('lets what nobody waits for go along with what somebody waits for, or by itself when nothing comes', async () => {
    const { add, batches } = start(async () => {}, { ...LIMITS, lingerMs: 60_000 })
    const outcome = add('outcome', 'outcome again')
    await new Promise(setImmediate)
    expect(batches).toEqual([])
    await Promise.all([outcome, add('intent')])
    expect(batches).toEqual([['outcome', 'intent']])

    const alone = start(async () => {})
    await alone.add('outcome', 'outcome again')
    expect(alone.batches).toEqual([['outcome']])
  })

  it('does not let it wait while it closes', async () => {
    const { group, add, batches } = start(async () => {}, { ...LIMITS, lingerMs: 60_000 })
    const outcome = add('outcome', 'outcome again')
    await group.close()
    await outcome
    expect(batches).toEqual([['outcome']])
  })

  it('bounds a batch by entries and by bytes', async () => {
    const { add, batches } = start(async () => {}, { ...LIMITS, batchEntries: 3, batchBytes: 10 })
    await Promise.all(['1', '2', '3', '4', '55555555', '66666666', '7777777777777777'].map((text) => add(text)))
    expect(batches).toEqual([['1', '2', '3'], ['4', '55555555'], ['66666666'], ['7777777777777777']])
  })

  it('refuses what may or may not have been committed, and writes again what must not be lost', async () => {
    const { add, batches, doubted } = start(async (_, attempt) => {
      if (attempt === 1) throw unreachable()
    })
    const [intent, outcome] = await Promise.allSettled([add('intent'), add('outcome', 'outcome again')])
    expect(intent).toMatchObject({ status: 'rejected', reason: { code: 'audit' } })
    expect(outcome).toMatchObject({ status: 'fulfilled' })
    expect(batches).toEqual([['intent', 'outcome'], ['outcome again']])
    expect(doubted).toHaveBeenCalledOnce()
  })

  it('finds the one entry the store cannot take', async () => {
    const { add } = start(async ({ bodies }) => {
      if (bodies.includes('poison')) throw new Error('22P02')
    })
    const texts = Array.from({ length: 100 }, (_, index) => (index === 63 ? 'poison' : `entry ${index}`))
    const answers = await Promise.allSettled(texts.map((text) => add(text)))
    expect(answers.flatMap(({ status }, index) => (status === 'rejected' ? [index] : []))).toEqual([63])
  })

  it('refuses in time what a store that hangs does not answer', async () => {
    const { add, group } = start(() => new Promise(() => {}), { ...LIMITS, appendMs: 300, closeMs: 50 })
    const kept = add('outcome', 'again')
    kept.catch(() => {})
    await expect(add('intent')).rejects.toMatchObject({ code: 'audit' })
    await group.close()
    await expect(kept).rejects.toMatchObject({ code: 'audit' })
  })

  it('refuses when the queue is full, and after it was closed', async () => {
    const { add, group } = start(async () => {}, { ...LIMITS, queueEntries: 2 })
    const [, , third] = await Promise.allSettled([add('a'), add('b'), add('c')])
    expect(third).toMatchObject({ status: 'rejected', reason: { code: 'audit' } })
    await group.close()
    await expect(add('d')).rejects.toMatchObject({ code: 'audit' })
  })

  it('writes what waits before it closes', async () => {
    const { add, group } = start(async () => {})
    const added = add('a')
    await group.close()
    expect((await added).seq).toBe(1)
  })
})
