import { randomInt } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import type { ApprovalWire } from '../control/wire.ts'
import type { Decision } from '../domain/approval.ts'
import { type Agent, type Answer, startAgent } from './agent.ts'
import { AGENT } from './company.ts'
import type { Narrator } from './narrator.ts'
import { type Reviewer, startReviewer } from './reviewer.ts'
import { ARRIVALS_PATH, type Arrival, arrivalsSchema } from './upstream.ts'

/** Where everything is that plays along. */
export interface World {
  readonly gatewayUrl: string
  readonly controlUrl: string
  readonly issuer: string
  readonly upstreamUrl: string
  readonly agentSecret: string
}

/** How the story would have a held call decided. */
export interface Wish {
  readonly approval: string
  readonly decision: Decision
  readonly reason: string
}

/** Brings a decision about, or tells a person how to. */
export interface Decider {
  decide(wish: Wish): Promise<void>
  /** Whether what is wished for is what happens: a person may think otherwise, or not be there. */
  readonly isScripted: boolean
}

/** `unattended`: nobody decided, and the agent gave up asking. */
export type Ending = 'told' | 'unattended'

const PATIENCE_MS = 600_000
const HOLD_TIMEOUT_MS = 15_000
// A person may ask ten times a second.
const POLL_MS = 200
const FETCH_TIMEOUT_MS = 10_000

const CUSTOMER = '/billing/customers/c-1'
const customerSchema = z.object({ name: z.string(), balance: z.number() })

/**
 * What an agent meets: a call that passes, one that is refused, one that a person approves and one that a person denies.
 * Each step is looked at from the other side, too: what arrived upstream. Throws if a step is not what it should be.
 */
export async function playStory(
  world: World,
  { tell, decider, signal }: { tell: Narrator; decider: Decider; signal: AbortSignal },
): Promise<Ending> {
  const agent = await startAgent({ ...world, secret: world.agentSecret, signal })
  const owner = await startReviewer('olivia', { ...world, signal })
  const stage: Stage = { world, agent, owner, tell, decider, signal }

  await endLeftovers(stage)
  await letAgentRun(stage)
  await passRoutineCall(stage)
  await refuseForbiddenCall(stage)
  const first = await holdRefund(stage, {
    title: 'A large refund waits for a person',
    amount: 450,
    claim: 'Her parcel arrived broken; she sent photos.',
    decision: 'approve',
    reason: 'I have seen the photos.',
  })
  if (first === 'unattended') return first
  await letAgentRun(stage)
  return await holdRefund(stage, {
    title: 'Another one, which a person should not let through',
    amount: 900,
    claim: 'She asked for her money back once more.',
    decision: 'deny',
    reason: 'This order was refunded already. Ask her which other order she means.',
  })
}

interface Stage {
  readonly world: World
  readonly agent: Agent
  readonly owner: Reviewer
  readonly tell: Narrator
  readonly decider: Decider
  readonly signal: AbortSignal
}

/** What an earlier run left waiting is nobody's business any more, and would only stand in the inbox. */
async function endLeftovers({ owner, tell, world, signal }: Stage): Promise<void> {
  const left = await owner.list()
  if (left.length === 0) return
  const finn = await startReviewer('finn', { ...world, signal })
  // Some may end by themselves meanwhile.
  for (const { id } of left) await finn.vote('deny', id, 'An earlier run of the demo left it.')
  tell.note('Calls that an earlier run had left waiting were denied.')
}

/** Whoever has found the button that stops the agent sees that it works, and the story goes on. */
async function letAgentRun({ agent, tell, world, signal }: Stage): Promise<void> {
  const answer = await agent.get(CUSTOMER)
  if (answer.refusal?.code !== 'suspended') return
  tell.chapter('Somebody has stopped the agent: none of its calls passes')
  tellRefusal(tell, answer)
  const otto = await startReviewer('otto', { ...world, signal })
  await otto.resume({ issuer: world.issuer, subject: AGENT.id }, 'The demo goes on.')
  // The gateway hears of it within a second, and until then it refuses.
  for (let attempt = 0; attempt < 20; attempt++) {
    if ((await agent.get(CUSTOMER)).refusal?.code !== 'suspended') break
    await sleep(250, undefined, { signal })
  }
  tell.line('operator', 'Otto, who operates the gateway, lets it go on: only people like him can.')
}

async function passRoutineCall({ agent, tell, world, signal }: Stage): Promise<void> {
  tell.chapter('Reading is routine: it passes')
  const before = await readArrivals(world, signal)
  tell.line('agent', `GET ${CUSTOMER}`)
  const answer = await agent.get(CUSTOMER)
  const { name, balance } = readCustomer(answer)
  tell.line('upstream', `${answer.status}: ${name}, balance ${balance}`)
  const [arrived, ...more] = (await readArrivals(world, signal)).slice(before.length)
  const isRight = answer.status === 200 && arrived?.method === 'GET' && arrived.isAsserted && more.length === 0
  prove(
    tell,
    isRight,
    'It arrived with the API’s own credential, which the agent never sees, and a signed note of who calls.',
  )
}

async function refuseForbiddenCall({ agent, tell, world, signal }: Stage): Promise<void> {
  tell.chapter('Deleting is forbidden: it is refused, and the agent is told why')
  const before = await readArrivals(world, signal)
  tell.line('agent', 'DELETE /billing/customers/c-3')
  const answer = await agent.delete('/billing/customers/c-3')
  tellRefusal(tell, answer)
  const after = await readArrivals(world, signal)
  const isRight = answer.status === 403 && answer.refusal?.code === 'denied' && after.length === before.length
  prove(tell, isRight, 'Nothing arrived upstream.')
}

interface Refund {
  readonly title: string
  readonly amount: number
  /** Why, as the agent says. */
  readonly claim: string
  readonly decision: Decision
  /** Why, as the reviewer would say. */
  readonly reason: string
}

async function holdRefund(stage: Stage, refund: Refund): Promise<Ending> {
  const { agent, owner, tell, world, signal } = stage
  const { amount, claim, decision, reason } = refund
  tell.chapter(refund.title)
  const before = await readArrivals(world, signal)
  const balance = await readBalance(agent)
  const known = new Set((await owner.list()).map(({ id }) => id))
  // Another order each time: a denial would answer the same call once more, for a while.
  const wish = { customer: 'c-1', amount, order: `A-${randomInt(100_000, 1_000_000)}` }
  tell.line('agent', `POST /billing/refunds ${JSON.stringify(wish)}, and says why: “${claim}”`)
  const settled = askPatiently(stage, () => agent.post('/billing/refunds', wish, claim))
  // What it fails with is looked at below; until then it must not end the process.
  settled.catch(() => undefined)

  const held = await Promise.race([findHeld(owner, known, signal), settled])
  if ('status' in held) throw new StoryFailure(`the call should be held, and is answered with ${held.status}`)
  tell.line('gateway', `holds it as approval ${held.id}, and the agent’s connection open`)
  if (decision === 'approve') await tryAsOwner(stage, held)
  const inBetween = await readArrivals(world, signal)
  prove(tell, inBetween.length === before.length + 1, 'Nothing of it arrived upstream so far.')

  await stage.decider.decide({ approval: held.id, decision, reason })
  const answer = await settled
  if (answer.refusal?.code === 'approval_pending') return 'unattended'
  const isApproved = answer.refusal === null
  if (stage.decider.isScripted && isApproved !== (decision === 'approve')) {
    throw new StoryFailure(
      `the reviewer’s ${decision} is answered with ${answer.status} ${answer.refusal?.detail ?? ''}`,
    )
  }
  const arrived = (await readArrivals(world, signal)).slice(inBetween.length)
  if (isApproved) {
    tell.line('upstream', `${answer.status}: ${JSON.stringify(answer.body)}`)
    const isOnce = arrived.length === 1 && arrived[0]?.path === '/refunds' && arrived[0].isAsserted
    const isRight = answer.status === 201 && isOnce && answer.approval === held.id
    const now = await readBalance(agent)
    prove(tell, isRight && now === balance + amount, `It arrived once, after the approval: the balance is ${now} now.`)
  } else {
    tellRefusal(tell, answer)
    const isRight = answer.status === 403 && arrived.length === 0
    const isTold = !stage.decider.isScripted || answer.refusal?.detail.includes(reason) === true
    prove(tell, isRight && isTold, 'Nothing arrived upstream, and the agent has the reason to learn from.')
  }
  return 'told'
}

/** Repeats the call unchanged as long as it is undecided, as the gateway asks for. */
async function askPatiently({ tell }: Stage, call: () => Promise<Answer>): Promise<Answer> {
  const deadline = performance.now() + PATIENCE_MS
  for (let isTold = false; ; isTold = true) {
    const answer = await call()
    if (answer.refusal?.code !== 'approval_pending' || performance.now() > deadline) return answer
    if (isTold) continue
    tellRefusal(tell, answer)
    tell.line('agent', 'repeats it unchanged, and again after each such answer')
  }
}

/** The approval that was not there before. */
async function findHeld(
  owner: Reviewer,
  known: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<ApprovalWire & { status?: never }> {
  for (const deadline = performance.now() + HOLD_TIMEOUT_MS; performance.now() < deadline; ) {
    const found = (await owner.list()).find(({ id, state }) => state === 'pending' && !known.has(id))
    if (found) return found
    await sleep(POLL_MS, undefined, { signal })
  }
  throw new StoryFailure('the call should be held, and no approval was opened')
}

async function tryAsOwner({ owner, tell }: Stage, { id }: ApprovalWire): Promise<void> {
  tell.line('owner', 'Olivia is in finance, too, and the agent is hers. She tries to approve it herself.')
  const refusal = await owner.vote('approve', id, 'It is my own agent, it will be fine.')
  tell.line('gateway', refusal ? `${refusal.code}: “${refusal.detail}”` : 'counts her vote')
  prove(tell, refusal?.code === 'self_approval', 'Nobody approves what their own agent asks for.')
}

async function readArrivals({ upstreamUrl }: World, signal: AbortSignal): Promise<readonly Arrival[]> {
  const response = await fetch(`${upstreamUrl}${ARRIVALS_PATH}`, {
    signal: AbortSignal.any([signal, AbortSignal.timeout(FETCH_TIMEOUT_MS)]),
  })
  return arrivalsSchema.parse(await response.json())
}

async function readBalance(agent: Agent): Promise<number> {
  return readCustomer(await agent.get(CUSTOMER)).balance
}

function readCustomer({ status, refusal, body }: Answer): z.infer<typeof customerSchema> {
  const { data } = customerSchema.safeParse(body)
  if (data) return data
  throw new StoryFailure(`reading is answered with ${status}: ${refusal?.detail ?? JSON.stringify(body)}`)
}

function tellRefusal(tell: Narrator, { status, refusal }: Answer): void {
  tell.line('gateway', `${status} ${refusal?.code ?? 'from upstream'}: “${refusal?.detail ?? ''}”`)
}

/** A step was not what it should be. */
export class StoryFailure extends Error {
  override readonly name = 'StoryFailure'
}

export function prove(tell: Narrator, isTrue: boolean, statement: string): void {
  if (!isTrue) throw new StoryFailure(`this should hold, and does not: ${statement}`)
  tell.proof(statement)
}
