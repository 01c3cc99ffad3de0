import { setTimeout as sleep } from 'node:timers/promises'
import type { Sessions } from '../../src/identity/sessions.ts'
import { type SentCall, sendPost } from '../agent.ts'
import { agentToken, type Gateway } from '../gateway.ts'
import type { Issuer } from '../issuer.ts'
import { monotonicMs } from '../monotonic.ts'
import type { Table } from '../report.ts'
import { quantile } from '../statistics.ts'

const WAITING = 1_000
const AGENTS = 100
const AT_ONCE = 50
const REVIEWERS = 20
const LIVE_SAMPLES = 10
const PATIENCE_MS = 120_000
const TARGET_MS = 200
/** As the console sets it where people reach it by https. */
const COOKIE = '__Host-countersign'

interface Options {
  readonly issuer: Issuer
  readonly gateway: Gateway
  /** Over the gateway's own store, to sign people in without a browser. */
  readonly sessions: Pick<Sessions, 'open'>
  readonly samples: number
  /** How many approvals wait, as the store counts them. */
  countPending(): Promise<number>
  tell(line: string): void
}

/** The console's inbox over a thousand waiting approvals: how fast it opens, and how soon it hears of one more. */
export async function measureInbox(options: Options): Promise<Table> {
  const { issuer, gateway, samples, countPending, tell } = options
  const tokens = await Promise.all(Array.from({ length: AGENTS }, (_, index) => agentToken(issuer, `agent-${index}`)))
  const cookies = await Promise.all(
    Array.from({ length: REVIEWERS }, (_, index) => signIn(options, `reviewer-${index}`)),
  )
  const sent: SentCall[] = []
  let asked = 0

  async function hold(count: number): Promise<void> {
    for (const until = sent.length + count; sent.length < until; ) {
      const indexes = Array.from({ length: Math.min(AT_ONCE, until - sent.length) }, (_, index) => sent.length + index)
      sent.push(
        ...(await Promise.all(
          indexes.map((index) =>
            sendPost({ port: gateway.port, path: `/billing/refunds/i-${index}`, token: tokens[index % AGENTS] ?? '' }),
          ),
        )),
      )
      for (const end = monotonicMs() + PATIENCE_MS; (await countPending()) < sent.length; await sleep(20)) {
        if (monotonicMs() > end) throw new Error('the calls were not held')
      }
    }
  }

  /** Milliseconds until all of the page is there. No person asks more often than the console lets them. */
  async function open(): Promise<number> {
    const cookie = cookies[asked++ % REVIEWERS] ?? ''
    const startedAt = monotonicMs()
    const text = await getPage(gateway, cookie)
    const tookMs = monotonicMs() - startedAt
    if (!text.includes('/approvals/')) throw new Error('the inbox is empty')
    return tookMs
  }

  try {
    await hold(1)
    await open()
    const few = await repeat(samples, open)
    await hold(WAITING - 1)
    tell(`${WAITING} approvals wait`)
    await open()
    const many = await repeat(samples, open)
    const heard = await repeat(LIVE_SAMPLES, () => hearOf(gateway, cookies[asked++ % REVIEWERS] ?? '', () => hold(1)))
    return describe({ few, many, heard })
  } finally {
    for (const call of sent) call.close()
  }
}

async function repeat(times: number, measure: () => Promise<number>): Promise<readonly number[]> {
  const all: number[] = []
  while (all.length < times) all.push(await measure())
  return all
}

async function signIn({ issuer, sessions }: Options, subject: string): Promise<string> {
  return sessions.open({
    person: {
      issuer: issuer.issuer,
      subject,
      name: subject,
      groups: [{ issuerName: 'bench', name: 'finance' }],
      roles: ['reviewer'],
      assurance: 'oidc',
      authenticatedAt: Math.floor(Date.now() / 1000),
    },
    issuerName: 'bench',
    tokens: { sub: subject, idToken: '', refresh: null },
    checkedAt: Date.now(),
  })
}

async function getPage({ controlUrl }: Gateway, cookie: string): Promise<string> {
  const response = await fetch(`${controlUrl}/`, {
    headers: { cookie: `${COOKIE}=${cookie}` },
    redirect: 'manual',
    signal: AbortSignal.timeout(PATIENCE_MS),
  })
  const text = await response.text()
  if (response.status !== 200) throw new Error(`the inbox was answered ${response.status}`)
  return text
}

/** Milliseconds from one more call to a page that was told of the change and was opened again. */
async function hearOf(gateway: Gateway, cookie: string, cause: () => Promise<void>): Promise<number> {
  const end = new AbortController()
  const response = await fetch(`${gateway.controlUrl}/live`, {
    headers: { cookie: `${COOKIE}=${cookie}`, 'sec-fetch-dest': 'empty' },
    signal: AbortSignal.any([end.signal, AbortSignal.timeout(PATIENCE_MS)]),
  })
  if (!response.ok || !response.body) throw new Error(`the stream of changes was answered ${response.status}`)
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader()
  try {
    const startedAt = monotonicMs()
    const caused = cause()
    for (;;) {
      const { value, done } = await reader.read()
      if (done) throw new Error('the stream of changes ended')
      if (value.includes('event: change')) break
    }
    await getPage(gateway, cookie)
    const tookMs = monotonicMs() - startedAt
    await caused
    return tookMs
  } finally {
    end.abort()
  }
}

function describe({ few, many, heard }: Record<'few' | 'many' | 'heard', readonly number[]>): Table {
  const row = (label: string, times: readonly number[], isTarget: boolean) => ({
    label,
    values: { 'p50 ms': quantile(times, 0.5), 'p99 ms': quantile(times, 0.99) },
    isMet: isTarget ? quantile(times, 0.99) <= TARGET_MS : null,
  })
  return {
    title: 'The inbox',
    about: `From the request for the console’s inbox to the last byte of the page, ${many.length} times, by ${REVIEWERS} people who may vote on all that waits; and from one more call to the page that shows it, ${heard.length} times. Target: p99 ≤ ${TARGET_MS} ms with ${WAITING.toLocaleString('en-US')} waiting.`,
    columns: ['p50 ms', 'p99 ms'],
    rows: [
      row('one approval waits', few, false),
      row(`${WAITING.toLocaleString('en-US')} wait`, many, true),
      row('one more is heard of and shown', heard, false),
    ],
  }
}
