import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Account } from './agree.ts'
import type { Replica } from './replica.ts'
import { type Statement, type StoreProxy, startStoreProxy } from './store-proxy.ts'
import type { Manner } from './upstream.ts'
import { problemOf, type World } from './world.ts'

/** Where a gateway is when it is killed. `anywhere` is a random moment after the approval. */
export const MOMENTS = ['holding', 'approved', 'spent', 'forwarded', 'anywhere'] as const
export type Moment = (typeof MOMENTS)[number]

/** One way to stop a gateway at a moment. */
interface Way {
  readonly name: string
  readonly manner: Manner
  /** Null for none: the moment is reached without stopping the gateway at a statement. */
  readonly at: { readonly side: 'statement' | 'answer'; isMeant(): IsMeant } | null
  /** How many of the calls have to have got there: all of them, unless the first is in the way of the others. */
  readonly isOneEnough?: boolean
  /** Waits for the upstream to have so many, too. */
  readonly isUpstreamReached?: boolean
}

type IsMeant = (statement: Statement) => boolean

const isLook = ({ sql }: Statement) => /^SELECT id, state, outcome IS NOT NULL AS ended/.test(sql)
const isSpend = ({ sql }: Statement) => /^UPDATE approval SET state = 'spent'/.test(sql)
const isEndOfSpend = ({ sql, before }: Statement) =>
  sql === 'COMMIT' && before.some((one) => /^UPDATE approval SET state = 'spent'/.test(one))
const isEntry = (kind: string) => (statement: Statement) =>
  /countersign\.append\(/.test(statement.sql) && statement.bytes.includes(`"kind":"${kind}"`)

/** Every statement that says so from the moment on at which a spend is about to be committed. */
function afterSpend(isMeant: IsMeant): () => IsMeant {
  return () => {
    let isSpent = false
    return (statement) => {
      isSpent ||= isEndOfSpend(statement)
      return isSpent && isMeant(statement)
    }
  }
}

const WAYS: Readonly<Record<Moment, readonly Way[]>> = {
  holding: [{ name: 'while people have not decided', manner: 'answer', at: null }],
  approved: [
    { name: 'before it hears of it', manner: 'answer', at: { side: 'statement', isMeant: () => isLook } },
    { name: 'before it uses the approval', manner: 'answer', at: { side: 'statement', isMeant: () => isSpend } },
    {
      name: 'before the spend is chained',
      manner: 'answer',
      at: { side: 'statement', isMeant: () => isEntry('spent') },
    },
    {
      name: 'before the spend is committed',
      manner: 'answer',
      at: { side: 'statement', isMeant: () => isEndOfSpend },
      isOneEnough: true,
    },
  ],
  spent: [
    { name: 'before it hears of the commit', manner: 'answer', at: { side: 'answer', isMeant: () => isEndOfSpend } },
    {
      name: 'before it writes its head down',
      manner: 'answer',
      at: { side: 'statement', isMeant: afterSpend(({ sql }) => /store_state/.test(sql)) },
      isOneEnough: true,
    },
  ],
  forwarded: [
    { name: 'while the upstream works', manner: 'block', at: null, isUpstreamReached: true },
    { name: 'in the middle of the response', manner: 'stall', at: null, isUpstreamReached: true },
    {
      name: 'before the outcome is written',
      manner: 'answer',
      at: { side: 'statement', isMeant: () => isEntry('outcome') },
      isOneEnough: true,
      isUpstreamReached: true,
    },
    {
      name: 'before it hears that the outcome is committed',
      manner: 'answer',
      at: { side: 'answer', isMeant: () => isEntry('outcome') },
      isOneEnough: true,
      isUpstreamReached: true,
    },
  ],
  anywhere: [{ name: 'at any moment', manner: 'answer', at: null }],
}

/** What became of one call of a round, as it was found right after the kill. */
export interface Fate {
  readonly moment: Moment
  readonly way: string
  readonly path: string
  readonly approval: string
  /** Its state right after the kill. */
  readonly state: string
  readonly arrivals: number
  /** Whether the answer to the retry showed that it was carried out then. */
  readonly isRedone: boolean
}

export interface Rounds {
  run(moment: Moment, options?: { way?: number; calls?: number }): Promise<readonly Fate[]>
  close(): Promise<void>
}

const MOST_WAIT_MS = 5_000
const RACE_MS = 40
/** From the approval to the outcome it takes some tens of milliseconds, more on a busy machine. */
const ANYWHERE_MS = 120

/** Kills gateways that share a store with `survivor`, which people vote through and where retries go. */
export function createRounds(world: World, survivor: Replica): Rounds {
  let count = 0
  let next: Promise<{ proxy: StoreProxy; replica: Replica }> | null = null

  async function prepare() {
    const proxy = await startStoreProxy(world.store.url)
    return { proxy, replica: await world.start({ storeUrl: proxy.url }) }
  }

  async function run(moment: Moment, { way: index, calls = 4 }: { way?: number; calls?: number } = {}) {
    const ways = WAYS[moment]
    const way = ways[index === undefined ? randomInt(ways.length) : index % ways.length] as Way // there is at least one
    const { proxy, replica } = await (next ?? prepare())
    // The next victim starts while this one is in use.
    next = prepare()
    next.catch(() => undefined)
    const round = ++count
    const token = await world.agentToken(`agent-${round}`)
    const paths = Array.from({ length: calls }, (_, index) => `/refunds/${moment}-${round}-${index}`)
    try {
      const held = paths.map((path) =>
        world
          .call(replica, path, { token })
          .then(statusOf)
          .catch(() => 'cut off'),
      )
      const approvals = await Promise.all(paths.map((path) => world.approvalOf(path)))
      if (moment === 'holding') await sleep(randomInt(RACE_MS))
      else await lead(way, { proxy, approvals })
      // One more that needs nobody, so that it may be anywhere.
      const read = world
        .call(replica, `/customers/${round}`, { method: 'GET', token })
        .then(statusOf)
        .catch(() => 'cut off')
      if (round % 2 === 0) await sleep(randomInt(RACE_MS / 4))
      await replica.kill()
      await Promise.all([...held, read])
      world.upstream.release()
      return await Promise.all(
        paths.map((path, index) => settle(path, { moment, way, approval: approvals[index] ?? '', token })),
      )
    } finally {
      await replica.kill()
      await proxy.close()
    }
  }

  /** Approves, and lets the gateway go on up to the moment; all calls set out together. */
  async function lead(way: Way, { proxy, approvals }: { proxy: StoreProxy; approvals: readonly string[] }) {
    const looking = proxy.catchAt('statement', isLook)
    await Promise.all(approvals.map((id) => world.approve(survivor, id)))
    await within(looking.reached(1), 'looks')
    const isMeant = way.at?.isMeant()
    if (isMeant === isLook) return
    const arrivals = way.isUpstreamReached ? world.upstream.arrivals(approvals.length) : Promise.resolve()
    world.upstream.manner = way.manner
    const caught = way.at && isMeant ? proxy.catchAt(way.at.side, isMeant) : null
    looking.release()
    if (caught) {
      await within(caught.reached(way.isOneEnough ? 1 : approvals.length), way.name)
    } else if (!way.isUpstreamReached) await sleep(randomInt(ANYWHERE_MS))
    await within(arrivals, `${way.name}: arrivals`)
    if (way.isUpstreamReached) await sleep(randomInt(5))
  }

  /** What is found after the kill, and what a retry through the survivor comes to. */
  async function settle(
    path: string,
    { moment, way, approval, token }: { moment: Moment; way: Way; approval: string; token: string },
  ): Promise<Fate> {
    const { state } = await world.until<{ state: string }>('SELECT state FROM countersign.approval WHERE id = $1', [
      approval,
    ])
    const arrivals = world.upstream.received().filter((one) => one.path === path).length
    const fate = { moment, way: way.name, path, approval, state, arrivals }
    const retry = await world.call(survivor, path, { token, headers: { prefer: 'wait=0' } })
    if (state === 'approved') return { ...fate, isRedone: retry.status === 200 }
    const answer = await problemOf(retry)
    if (answer.code !== 'approval_pending') throw new Error(`${path}: a retry was answered ${JSON.stringify(answer)}`)
    if (state !== 'pending') return { ...fate, isRedone: answer.approval === approval }
    await world.approve(survivor, approval)
    const last = await world.call(survivor, path, { token })
    return { ...fate, isRedone: last.status === 200 && last.headers.get('countersign-approval') === approval }
  }

  return {
    run,
    async close() {
      const unused = await next
      await unused?.replica.kill()
      await unused?.proxy.close()
    },
  }
}

/** What is wrong with the fates, given what the records say once every dead gateway was settled. */
export function judgeFates(fates: readonly Fate[], account: Account): readonly string[] {
  return fates.flatMap(({ moment, way, path, approval, state, arrivals, isRedone }) => {
    const { outcome } = account.approvals.get(approval) ?? {}
    const wrong: string[] = []
    const expect = (isRight: boolean, what: string) => isRight || wrong.push(`${path} (killed ${way}): ${what}`)
    const isOpen = state === 'pending' || state === 'approved'
    expect(arrivals <= 1, `it arrived ${arrivals} times`)
    expect(isOpen ? arrivals === 0 : state === 'spent', `it was ${state}, and arrived ${arrivals} times`)
    // Open approvals are used by the retry; spent ones are gone, whatever came of them.
    expect(isRedone === isOpen, isOpen ? 'a retry did not carry it out' : 'a retry found the used approval')
    if (isOpen) expect(outcome === 'forwarded', `a retry carried it out, and the outcome is ${outcome}`)
    else if (arrivals === 0) expect(outcome === 'unknown', `it never arrived, and the outcome is ${outcome}`)
    else expect(outcome === 'unknown' || outcome === 'forwarded', `it arrived, and the outcome is ${outcome}`)
    if (moment === 'holding') expect(state === 'pending', `it was ${state}`)
    if (moment === 'approved') expect(state === 'approved', `it was ${state}`)
    if (moment === 'spent') expect(arrivals === 0, 'it arrived')
    if (moment === 'forwarded') expect(arrivals === 1, 'it had not arrived')
    return wrong
  })
}

function statusOf(response: Response): Promise<string> {
  return response.text().then(() => String(response.status))
}

async function within(reached: Promise<void>, what: string): Promise<void> {
  const late = new AbortController()
  const timeout = sleep(MOST_WAIT_MS, 'late', { signal: late.signal }).catch(() => 'in time')
  const result = await Promise.race([reached, timeout])
  late.abort()
  if (result === 'late') throw new Error(`not reached in ${MOST_WAIT_MS} ms: ${what}`)
}
