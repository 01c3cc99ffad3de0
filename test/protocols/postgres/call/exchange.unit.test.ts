import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { Approval } from '../../../../src/domain/approval.ts'
import type { Intent } from '../../../../src/domain/call.ts'
import { createExchange } from '../../../../src/protocols/postgres/call/exchange.ts'
import type { Fault } from '../../../../src/protocols/postgres/wire/report.ts'
import { sessionOf } from '../naming/session.ts'
import { ALICE, VERDICT } from '../world.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const NOTHING = { doings: [], slots: [], cuts: [] }

/** A call that is held, and what its client was told. */
function holdOne({ inTransaction = false, isCancelled = false } = {}) {
  const told: string[] = []
  const refused: Fault[] = []
  const gone = new AbortController()
  const call = createExchange({
    id: '01a1f933-840d-7755-add4-bab91daf340c',
    principal: ALICE,
    upstream: { name: 'orders', protocol: 'postgres', labels: {}, mode: 'enforce', waitMs: 600_000 },
    batch: { kind: 'query', sent: [] },
    plan: NOTHING,
    planAnew: () => Promise.resolve(NOTHING),
    binding: {
      door: 'wire',
      upstream: 'orders',
      target: 'db:5432 agents',
      database: 'shop',
      role: 'agents',
      times: new Map(),
      began: new Map(),
      view: { searchPath: ['public'], inTransaction },
    },
    hasUnseenSettings: false,
    // Nothing is forwarded here.
    relay: {} as Parameters<typeof createExchange>[0]['relay'],
    askHidden: () => Promise.resolve(null),
    askSettings: () => Promise.resolve([]),
    namer: {} as Parameters<typeof createExchange>[0]['namer'],
    view: () => sessionOf({ inTransaction }),
    previewRole: null,
    record: () => Promise.resolve(),
    client: { write: (bytes) => void told.push(Buffer.from(bytes).toString('latin1')) },
    publicUrl: 'https://gateway.example.com',
    gone: gone.signal,
    isCancelled: () => isCancelled,
    refuse: (fault) => Promise.resolve(void refused.push(fault)),
    isAsJudged: () => Promise.resolve(true),
    running: () => () => {},
    monotonic: () => 0,
  })
  // What nobody here reads is left out.
  const approval = { id: '7Q3F000000', callId: call.id } as Approval
  return { call, told, refused, gone, approval }
}

it('a client whose statement is held is told at once and every 15 seconds, until it is gone', async () => {
  const { call, told, gone, approval } = holdOne()
  await call.held(approval)
  expect(told).toHaveLength(1)
  expect(told[0]).toContain('Waiting for approval 7Q3F000000.')
  vi.advanceTimersByTime(14_999)
  expect(told).toHaveLength(1)
  vi.advanceTimersByTime(1)
  expect(told).toHaveLength(2)
  vi.advanceTimersByTime(585_000)
  expect(told).toHaveLength(41)
  gone.abort()
  vi.advanceTimersByTime(60_000)
  expect(told).toHaveLength(41)
})

it('within a transaction a client waits for half a minute at most', () => {
  expect(holdOne().call.waitMs).toBe(600_000)
  expect(holdOne({ inTransaction: true }).call.waitMs).toBe(30_000)
})

it('what was cancelled before it ran does not run, though it was allowed', async () => {
  const { call, refused } = holdOne({ isCancelled: true })
  const outcome = await call.forward({
    intent: {} as Intent,
    verdict: VERDICT,
    approval: null,
    signal: new AbortController().signal,
    spendBytes: () => true,
    spendRows: () => true,
  })
  expect(outcome).toMatchObject({ name: 'refused', refusal: { code: 'withdrawn' } })
  expect(refused.map(({ code }) => code)).toEqual(['57014'])
})
