import { setTimeout as sleep } from 'node:timers/promises'
import { type SentCall, sendPost } from '../agent.ts'
import { agentToken, type Gateway, memoryOf } from '../gateway.ts'
import type { Issuer } from '../issuer.ts'
import { monotonicMs } from '../monotonic.ts'
import type { Table } from '../report.ts'

const PRINCIPALS = 100
const AT_ONCE = 100
const PATIENCE_MS = 180_000
const TARGET_KIB = 20

interface Options {
  readonly issuer: Issuer
  /** With a channel, so that it can be asked. */
  readonly gateway: Gateway
  readonly calls: number
  /** How many approvals wait, as the store counts them. */
  countPending(): Promise<number>
  tell(line: string): void
}

/** What a held call takes of a process that holds ten thousand: memory after a full collection, before and during. */
export async function measureHeldMemory({ issuer, gateway, calls, countPending, tell }: Options): Promise<Table> {
  const tokens = await Promise.all(
    Array.from({ length: PRINCIPALS }, (_, index) => agentToken(issuer, `agent-${index}`)),
  )
  const sent: SentCall[] = []
  try {
    // Each agent once, so that what is kept of agents and not of calls is there before.
    await holdAll({ from: 0, to: PRINCIPALS })
    await awaitPending(PRINCIPALS)
    const before = await memoryOf(gateway)
    const startedAt = monotonicMs()
    await holdAll({ from: PRINCIPALS, to: calls })
    await awaitPending(calls)
    const tookMs = monotonicMs() - startedAt
    await sleep(1000)
    const during = await memoryOf(gateway)
    return describe({ before, during, calls, added: calls - PRINCIPALS, tookMs })
  } finally {
    for (const call of sent) call.close()
  }

  async function holdAll({ from, to }: { from: number; to: number }): Promise<void> {
    for (let first = from; first < to; first += AT_ONCE) {
      const indexes = Array.from({ length: Math.min(AT_ONCE, to - first) }, (_, index) => first + index)
      const batch = indexes.map((index) =>
        sendPost({ port: gateway.port, path: `/billing/refunds/m-${index}`, token: tokens[index % PRINCIPALS] ?? '' }),
      )
      sent.push(...(await Promise.all(batch)))
      // Not all in one moment: that would measure how a burst is queued.
      while (sent.length - (await countPending()) > 5 * AT_ONCE) await sleep(20)
      if (to > PRINCIPALS && sent.length % 1000 === 0) tell(`${sent.length} of ${to} calls sent`)
    }
  }

  async function awaitPending(count: number): Promise<void> {
    const until = monotonicMs() + PATIENCE_MS
    for (;;) {
      const pending = await countPending()
      if (pending >= count) return
      if (monotonicMs() > until) throw new Error(`only ${pending} of ${count} calls were held`)
      await sleep(200)
    }
  }
}

type Memory = NodeJS.MemoryUsage

function describe(of: { before: Memory; during: Memory; calls: number; added: number; tookMs: number }): Table {
  const { before, during, calls, added, tookMs } = of
  const kib = (read: (usage: Memory) => number) => (read(during) - read(before)) / added / 1024
  const heap = kib(({ heapUsed }) => heapUsed)
  const external = kib((usage) => usage.external)
  return {
    title: 'Memory of a held call',
    about: `${calls.toLocaleString('en-US')} calls of ${PRINCIPALS} agents held at once in one process, each on its connection (opened at ${Math.round((added / tookMs) * 1000)} a second); KiB a call after a full collection. Target: heap and external together ≤ ${TARGET_KIB} KiB.`,
    columns: ['KiB a call'],
    rows: [
      { label: 'heap and external', values: { 'KiB a call': heap + external }, isMet: heap + external <= TARGET_KIB },
      { label: 'heap', values: { 'KiB a call': heap }, isMet: null },
      { label: 'external', values: { 'KiB a call': external }, isMet: null },
      { label: 'resident', values: { 'KiB a call': kib(({ rss }) => rss) }, isMet: null },
    ],
  }
}
