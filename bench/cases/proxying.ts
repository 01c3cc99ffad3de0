import { setTimeout as sleep } from 'node:timers/promises'
import { requestBytes } from '../gateway.ts'
import { generate, type LoadResult } from '../load.ts'
import type { Table } from '../report.ts'
import { median } from '../statistics.ts'

const CONNECTIONS = 64
const PATH = '/billing/customers/c-17'
const TARGET_MS = { p50: 2, p99: 10 }

/** Something that can be sent the request. */
export interface Peer {
  readonly name: 'upstream' | 'http-proxy' | 'haproxy' | 'countersign'
  readonly label: string
  readonly port: number
}

interface Options {
  readonly peers: readonly Peer[]
  readonly token: string
  readonly rounds: number
  readonly seconds: number
  /** Told what is going on. */
  tell(line: string): void
}

type Results = ReadonlyMap<Peer, readonly LoadResult[]>

/** As many requests as pass, over 64 connections. */
export async function measureThroughput(options: Options): Promise<{ table: Table; perSecond: number }> {
  const results = await interleave(options, { connections: CONNECTIONS, rate: null })
  const figures = new Map([...results].map(([peer, all]) => [peer, median(all.map(({ perSecond }) => perSecond))]))
  const of = (name: Peer['name']) => [...figures].find(([peer]) => peer.name === name)?.[1] ?? Number.NaN
  const ours = of('countersign')
  const bare = of('http-proxy')
  return {
    perSecond: ours,
    table: {
      title: 'Requests per second at full load',
      about: `${CONNECTIONS} connections, one 300-byte answer a request, the same RS256 token for whoever looks at it; medians of ${options.rounds} interleaved rounds of ${options.seconds} s. Target: no less than @fastify/http-proxy bare.`,
      columns: ['requests/s', 'lowest', 'highest', 'to http-proxy', 'p50 ms', 'p99 ms', 'faults'],
      rows: [...results].map(([peer, all]) => ({
        label: peer.label,
        values: {
          'requests/s': figures.get(peer) ?? null,
          lowest: Math.min(...all.map(({ perSecond }) => perSecond)),
          highest: Math.max(...all.map(({ perSecond }) => perSecond)),
          'to http-proxy': (figures.get(peer) ?? Number.NaN) / bare,
          'p50 ms': median(all.map(({ p50 }) => p50)),
          'p99 ms': median(all.map(({ p99 }) => p99)),
          faults: all.reduce((sum, { faults }) => sum + faults, 0),
        },
        isMet: peer.name === 'countersign' ? ours >= bare : null,
      })),
    },
  }
}

/** What a request takes longer than without anything between, at half of the rate that Countersign can do. */
export async function measureLatency(options: Options, perSecond: number): Promise<Table> {
  const rate = Math.max(10, Math.round(perSecond / 2))
  const results = await interleave(options, { connections: CONNECTIONS, rate })
  const direct = [...results].find(([peer]) => peer.name === 'upstream')?.[1] ?? []
  return {
    title: 'Added latency at half load',
    about: `${rate} requests/s over ${CONNECTIONS} connections, half of what Countersign does at full load; milliseconds above the upstream alone at the same rate in the same round, medians of ${options.rounds} rounds. Target: p50 ≤ ${TARGET_MS.p50} ms, p99 ≤ ${TARGET_MS.p99} ms.`,
    columns: ['p50 ms', 'p99 ms', 'added p50 ms', 'added p99 ms', 'requests/s', 'faults'],
    rows: [...results].map(([peer, all]) => {
      const p50 = median(all.map((result, round) => result.p50 - (direct[round]?.p50 ?? Number.NaN)))
      const p99 = median(all.map((result, round) => result.p99 - (direct[round]?.p99 ?? Number.NaN)))
      const isDirect = peer.name === 'upstream'
      return {
        label: peer.label,
        values: {
          'p50 ms': median(all.map((result) => result.p50)),
          'p99 ms': median(all.map((result) => result.p99)),
          'added p50 ms': isDirect ? null : p50,
          'added p99 ms': isDirect ? null : p99,
          'requests/s': median(all.map((result) => result.perSecond)),
          faults: all.reduce((sum, { faults }) => sum + faults, 0),
        },
        isMet: peer.name === 'countersign' ? p50 <= TARGET_MS.p50 && p99 <= TARGET_MS.p99 : null,
      }
    }),
  }
}

/** A round is every peer once; the first round warms up and does not count. */
async function interleave(
  { peers, token, rounds, seconds, tell }: Options,
  how: { readonly connections: number; readonly rate: number | null },
): Promise<Results> {
  const results = new Map<Peer, LoadResult[]>(peers.map((peer) => [peer, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const peer of peers) {
      const request = requestBytes({ path: PATH, token: peer.name === 'upstream' ? null : token })
      const result = await generate({ ...how, host: '127.0.0.1', port: peer.port, request, seconds })
      tell(`${round === 0 ? 'warm-up' : `round ${round}`} ${peer.name}: ${Math.round(result.perSecond)}/s`)
      if (round > 0) results.get(peer)?.push(result)
      await sleep(100)
    }
  }
  return results
}
