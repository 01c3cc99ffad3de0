import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { sendPost } from '../agent.ts'
import { agentToken, type Gateway, personToken } from '../gateway.ts'
import type { Issuer } from '../issuer.ts'
import { monotonicMs } from '../monotonic.ts'
import type { Server } from '../peers.ts'
import type { Table } from '../report.ts'
import { quantile } from '../statistics.ts'
import type { Receipt } from '../upstream.ts'

const BATCH = 10
const REVIEWERS = 20
const PATIENCE_MS = 10_000
const TARGET_MS = 10

interface Options {
  readonly issuer: Issuer
  readonly upstream: Server
  /** Where the calls are held. */
  readonly first: Gateway
  /** Another one on the same store. */
  readonly second: Gateway
  readonly samples: number
  tell(line: string): void
}

/** Milliseconds of one held call. */
interface Sample {
  readonly fromRequest: number
  readonly fromAnswer: number
}

const listed = z.object({
  approvals: z.array(z.object({ id: z.string(), resource: z.string(), card_hash: z.string() })),
})

/** From a person's vote to the upstream's receipt of the call, with the vote on the call's own replica or another one. */
export async function measureHolding(options: Options): Promise<Table> {
  const { issuer, upstream, first, second, samples, tell } = options
  const token = await agentToken(issuer, 'support-7')
  const reviewers = await Promise.all(
    Array.from({ length: REVIEWERS }, (_, index) => personToken(issuer, `reviewer-${index}`)),
  )
  const receipts = new Map<string, (atMs: number) => void>()
  // The upstream sends nothing else.
  upstream.child.on('message', (message: Receipt) => receipts.get(message.path)?.(message.atMs))

  let sent = 0
  let voted = 0
  const nextReviewer = () => reviewers[voted++ % REVIEWERS] ?? ''

  /** Holds a few calls at once, then approves them one after the other. */
  async function runBatch(control: Gateway): Promise<Sample[]> {
    const paths = Array.from({ length: BATCH }, () => `/refunds/${sent++}`)
    const calls = await Promise.all(paths.map((path) => sendPost({ port: first.port, path: `/billing${path}`, token })))
    const approvals = await awaitApprovals(control, nextReviewer(), paths)
    const batch: Sample[] = []
    for (const { id, resource, card_hash } of approvals) {
      const received = new Promise<number>((resolve) => receipts.set(resource, resolve))
      const requestedAt = monotonicMs()
      const answer = await fetch(`${control.controlUrl}/v1/approvals/${id}/approve`, {
        method: 'POST',
        headers: { authorization: `Bearer ${nextReviewer()}`, 'content-type': 'application/json' },
        body: JSON.stringify({ card_hash }),
        signal: AbortSignal.timeout(PATIENCE_MS),
      })
      const answeredAt = monotonicMs()
      if (answer.status !== 200) throw new Error(`a vote was answered ${answer.status}: ${await answer.text()}`)
      await answer.body?.cancel()
      const receivedAt = await Promise.race([received, sleep(PATIENCE_MS, Number.NaN, { ref: false })])
      receipts.delete(resource)
      batch.push({ fromRequest: receivedAt - requestedAt, fromAnswer: receivedAt - answeredAt })
    }
    const statuses = await Promise.all(calls.map(({ answered }) => answered))
    for (const call of calls) call.close()
    if (statuses.some((status) => status !== 200)) throw new Error(`held calls were answered ${statuses.join(', ')}`)
    return batch
  }

  const own: Sample[] = []
  const other: Sample[] = []
  await runBatch(first)
  await runBatch(second)
  while (own.length < samples) {
    own.push(...(await runBatch(first)))
    other.push(...(await runBatch(second)))
    tell(`${own.length} of ${samples} votes on each replica`)
  }
  return {
    title: 'From a vote to the forwarded call',
    about: `From the approver API’s request (and from its answer) to the upstream’s receipt of the held call; ${own.length} samples each, ${BATCH} calls held at a time. Target: p50 ≤ ${TARGET_MS} ms from the request.`,
    columns: ['p50 ms', 'p99 ms', 'p50 ms from the answer', 'p99 ms from the answer'],
    rows: [rowOf('vote on the replica that holds the call', own), rowOf('vote on another replica', other)],
  }
}

function rowOf(label: string, samples: readonly Sample[]) {
  const fromRequest = samples.map((sample) => sample.fromRequest)
  const fromAnswer = samples.map((sample) => sample.fromAnswer)
  return {
    label,
    values: {
      'p50 ms': quantile(fromRequest, 0.5),
      'p99 ms': quantile(fromRequest, 0.99),
      'p50 ms from the answer': quantile(fromAnswer, 0.5),
      'p99 ms from the answer': quantile(fromAnswer, 0.99),
    },
    isMet: quantile(fromRequest, 0.5) <= TARGET_MS,
  }
}

async function awaitApprovals(control: Gateway, reviewer: string, paths: readonly string[]) {
  const until = monotonicMs() + PATIENCE_MS
  while (monotonicMs() < until) {
    const answer = await fetch(`${control.controlUrl}/v1/approvals?state=pending&limit=100`, {
      headers: { authorization: `Bearer ${reviewer}` },
      signal: AbortSignal.timeout(PATIENCE_MS),
    })
    if (answer.status !== 200) throw new Error(`the approver API answered ${answer.status}: ${await answer.text()}`)
    const { approvals } = listed.parse(await answer.json())
    const wanted = approvals.filter(({ resource }) => paths.includes(resource))
    if (wanted.length === paths.length) return wanted
    await sleep(100)
  }
  throw new Error('the calls were not held')
}
