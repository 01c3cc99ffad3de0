import { describeTooMany, NEVER_SEEN, type SwitchResult } from '../../domain/agent.ts'
import type { StopDesk } from '../../domain/channel.ts'
import { formatParty, type Party, type Person, parseParty } from '../../domain/principal.ts'
import type { Clock } from '../../platform/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import type { Ephemeral, Respond } from './answer.ts'
import { clean } from './foreign.ts'
import { COMMAND, type Command, commandSchema } from './payload.ts'
import type { Recognise } from './recognise.ts'
import { createReplayCache } from './replays.ts'
import { bold, code, type Inline, lines, plain, richText } from './rich-text.ts'
import { describePersonFault } from './wording.ts'

const MAX_REASON = 2000
const MAX_NAME = 1000
const NO_REASON = 'No reason was given.'
// In Slack's markup: angle brackets as they are would be a link.
const USAGE = `To stop an agent at once: \`${COMMAND} suspend &lt;agent&gt; [reason]\`. The agent is its subject, or \`issuer|subject\`; put quotes around one with spaces. Letting it go on is done in the console, or with \`countersign agents resume\`.`

export interface Commands {
  /**
   * Somebody typed the command. What to tell that person; null if nothing is to be told. `isLate`: whether Slack no longer
   * waits, so that the answer has to go another way.
   */
  run(body: unknown, signal: AbortSignal, isLate: () => boolean): Promise<Ephemeral | null>
}

/** The slash command: whoever is linked may stop an agent. Each is answered to the person who typed it, and nobody else. */
export function createCommands(parts: {
  readonly agents: StopDesk
  readonly recognise: Recognise
  readonly respond: Respond
  readonly clock: Clock
  readonly log: Logger
}): Commands {
  const { agents, recognise, respond, clock, log } = parts
  const handled = createReplayCache(clock)

  async function run(body: unknown, signal: AbortSignal, isLate: () => boolean): Promise<Ephemeral | null> {
    const parsed = commandSchema.safeParse(body)
    if (!parsed.success) {
      log.warn('Slack sent a command of another form; ignored')
      return null
    }
    const command = parsed.data
    if (!handled.isNew(command.trigger_id)) {
      log.warn('a command was delivered twice; ignored')
      return null
    }
    const answer = await answerTo(command, signal)
    if (!isLate()) return answer
    if (!(await respond(command.response_url, answer, signal)))
      log.warn('somebody could not be told what a command did')
    return null
  }

  async function answerTo(command: Command, signal: AbortSignal): Promise<Ephemeral> {
    const order = parseOrder(command.text)
    if (!order) return { text: USAGE }
    const who = await recognise(command, signal)
    if (who.fault) return { text: describePersonFault(who.fault, who) }
    try {
      return await suspend(order, who.person)
    } catch (error) {
      log.error({ err: error }, 'an agent could not be suspended from Slack')
      return { text: 'It is not certain that anything was done: the gateway had a fault. Please look, and try again.' }
    }
  }

  async function suspend({ name, reason }: Order, person: Person): Promise<Ephemeral> {
    const found = await agents.find(name)
    if (found.length > 1) return offer(found)
    const agent = found[0] ?? parseParty(name)
    if (!agent) return sayUnknown(name)
    // Whatever the person last signed in with, this is as good as the Slack account it came through.
    const by: Person = { ...person, assurance: 'slack', authenticatedAt: null }
    return describe(agent, await agents.suspend({ agent, by, reason: reason ?? NO_REASON, via: 'slack' }))
  }

  return { run }
}

interface Order {
  readonly name: string
  readonly reason: string | null
}

const ORDER = /^suspend\s+(?:["“”]([^"“”]+)["“”]|([^\s"“”]\S*))(?:\s+(.+))?$/isu

/** Null if it is not one that can be carried out. Slack puts what looks like an address into angle brackets. */
function parseOrder(text: string): Order | null {
  const match = ORDER.exec(
    text
      .toWellFormed()
      .replaceAll(/[^\P{Cc}\n\t]/gu, ' ')
      .trim(),
  )
  const name = (match?.[1] ?? match?.[2] ?? '').trim().replace(/^<(.*)>$/u, '$1')
  if (name === '' || name.length > MAX_NAME || /\p{Cc}/u.test(name)) return null
  const reason = match?.[3]?.trim().slice(0, MAX_REASON).toWellFormed() ?? ''
  return { name, reason: reason === '' ? null : reason }
}

/** Words of others stand in blocks only, as plain text; `text` is what a notification shows. */
function say(text: string, ...rows: readonly (readonly Inline[])[]): Ephemeral {
  return { text, blocks: [richText(lines(rows))] }
}

function describe(agent: Party, result: SwitchResult): Ephemeral {
  if (!result.done && result.fault === 'unknown_issuer') return sayUnknownIssuer(result.known)
  if (!result.done && result.fault === 'too_many_suspended') {
    return { text: `Nothing was done. ${describeTooMany(result)}` }
  }
  if (!result.done) return { text: 'Nothing was done. You may not suspend agents.' }
  const title = result.isChanged ? 'Suspended, on every replica.' : 'It was suspended already.'
  const isSeen = result.agent.seenAt !== null
  return say(title, [bold(`${title} `), ...nameOf(agent)], ...(isSeen ? [] : [[plain(NEVER_SEEN)]]), [
    plain('An operator or an admin resumes it, in the console or with '),
    code('countersign agents resume'),
    plain('.'),
  ])
}

function offer(found: readonly Party[]): Ephemeral {
  const title = 'Nothing was done. Several agents are called that; say which:'
  return say(
    title,
    [bold(title)],
    ...found.map((agent) => [code(`${COMMAND} suspend ${clean(quote(formatParty(agent)), MAX_NAME)}`)]),
  )
}

function sayUnknown(name: string): Ephemeral {
  const title = 'Nothing was done. No agent of that name was seen calling.'
  return say(
    title,
    [bold(`${title} `), code(clean(name))],
    [plain('An agent that has not called is named with its issuer: '), code(`${COMMAND} suspend issuer|subject`)],
  )
}

function sayUnknownIssuer(known: readonly string[]): Ephemeral {
  const title = 'Nothing was done. Nobody of that issuer can call here. The issuers are:'
  return say(title, [bold(title)], ...known.map((issuer) => [code(clean(issuer))]))
}

function nameOf({ issuer, subject }: Party): Inline[] {
  return [code(clean(subject)), plain(' of '), code(clean(issuer))]
}

function quote(name: string): string {
  return /\s/u.test(name) ? `"${name}"` : name
}
