import type { Relay } from '../relay/relay.ts'
import type { Slot } from '../relay/slots.ts'
import { noTraffic, type Terms, type Traffic } from '../relay/traffic.ts'
import { encodeFrontend } from '../wire/frontend.ts'
import type { Batch } from './batch.ts'
import type { Doing, Plan } from './plan.ts'

/** Messages as they are sent, and what answers them. */
interface Sending {
  readonly messages: readonly Buffer[]
  readonly slots: readonly Slot[]
}

/** Where columns are masked, they are asked for before rows come. */
export function sendingOf(batch: Pick<Batch, 'sent'>, slots: readonly Slot[], isMasked: boolean): Sending {
  return isMasked ? describeAhead(batch, slots) : { messages: batch.sent.map(({ bytes }) => bytes), slots }
}

/** The batch with a question before each Execute: which columns its rows have, whoever was told that before. */
function describeAhead({ sent }: Pick<Batch, 'sent'>, slots: readonly Slot[]): { messages: Buffer[]; slots: Slot[] } {
  const messages: Buffer[] = []
  const ahead: Slot[] = []
  const rest = [...slots]
  for (const { message, bytes } of sent) {
    if (message.type === 'execute') {
      messages.push(encodeFrontend({ type: 'describe', what: 'portal', name: message.portal }))
      ahead.push({ kind: 'describe_portal', isSilent: 'unless_it_fails' })
    }
    messages.push(bytes)
    // Nothing answers a Flush.
    if (message.type !== 'flush') ahead.push(...rest.splice(0, 1))
  }
  return { messages, slots: ahead }
}

/**
 * Forwards a batch: at once, or in stages where code that runs in it could give another meaning to what follows. Before
 * each further one it is asked whether all is as it was judged.
 *
 * @returns what went by, and whether all of it was forwarded
 * @throws SessionOver
 */
export async function forwardPlan(
  batch: Batch,
  plan: Plan,
  on: {
    readonly relay: Relay
    readonly terms: Terms
    /** Then columns are asked for before rows come. */
    readonly isMasked: boolean
    readonly isAsJudged: () => Promise<boolean>
  },
): Promise<{ readonly traffic: Traffic; readonly isWhole: boolean }> {
  const { relay, terms } = on
  const traffic = noTraffic()
  const stages = stagesOf(batch, plan, on.isMasked)
  for (const [index, stage] of stages.entries()) {
    if (index > 0 && relay.isSkipping) {
      // A server that has come to an error reads nothing until the Sync.
      const sync = plan.slots.at(-1)
      if (batch.kind === 'sync' && sync) await relay.forward(lastOf(batch), [sync], terms, traffic)
      break
    }
    if (index > 0 && !(await on.isAsJudged())) return { traffic, isWhole: false }
    const isLast = index === stages.length - 1
    if (isLast && batch.kind === 'sync' && plan.doings.some(copiesIn)) await forwardSyncLast(stage, { ...on, traffic })
    else await relay.forward(stage.messages, stage.slots, terms, traffic)
  }
  return { traffic, isWhole: true }
}

function copiesIn({ how, named }: Doing): boolean {
  return how === 'run' && named.some(({ effects }) => effects.some(({ does }) => does === 'copy_in'))
}

/**
 * Sends the Sync of a batch only when all before it was answered, and `mayEnd` says that it may.
 *
 * Amid a copy a server drops the Sync that was sent behind its Execute, but answers it if the copy fails before any data
 * is read. So that it is known which, it is sent only where there was no copy; clients send another one behind theirs.
 */
export async function forwardSyncLast(
  { messages, slots }: Sending,
  {
    relay,
    terms,
    traffic,
    mayEnd = () => true,
  }: {
    readonly relay: Pick<Relay, 'forward'>
    readonly terms: Terms
    readonly traffic: Traffic
    mayEnd?(): boolean
  },
): Promise<void> {
  const early = [...messages.slice(0, -1), encodeFrontend({ type: 'flush' })]
  await relay.forward(early, slots.slice(0, -1), terms, traffic)
  if (mayEnd() && !traffic.hasCopied) await relay.forward(messages.slice(-1), slots.slice(-1), terms, traffic)
}

function lastOf({ sent }: Batch): readonly Buffer[] {
  return sent.slice(-1).map(({ bytes }) => bytes)
}

function stagesOf({ sent }: Batch, { slots, cuts }: Plan, isMasked: boolean): readonly Sending[] {
  const ends = [...cuts, { sent: sent.length, slots: slots.length }]
  return ends.map((end, index) => {
    const from = ends[index - 1] ?? { sent: 0, slots: 0 }
    const part = { sent: sent.slice(from.sent, end.sent) }
    const stage = sendingOf(part, slots.slice(from.slots, end.slots), isMasked)
    if (index === ends.length - 1) return stage
    return { messages: [...stage.messages, encodeFrontend({ type: 'flush' })], slots: stage.slots }
  })
}
