import type { Decision } from '../domain/approval.ts'
import { PEOPLE, type PersonName } from './company.ts'
import type { Narrator } from './narrator.ts'
import { startReviewer } from './reviewer.ts'
import { type Decider, prove, type Wish, type World } from './story.ts'

/** Finn from finance, played by a script: he signs in through the device flow and decides through the approver API. */
export function scriptReviewer(world: World, { tell, signal }: { tell: Narrator; signal: AbortSignal }): Decider {
  return {
    isScripted: true,
    async decide({ approval, decision, reason }) {
      const finn = await startReviewer('finn', { ...world, signal })
      tell.line('reviewer', `Finn from finance signs in, looks at the card, and decides: ${decision}. “${reason}”`)
      const refusal = await finn.vote(decision, approval, reason)
      prove(tell, refusal === null, 'His vote counts.')
    },
  }
}

/**
 * Whoever sits in front of the browser.
 *
 * @param options `typed`: what to type where there is none, line by line
 */
export function inviteReviewer(
  { controlUrl, issuer }: World,
  { tell, typed }: { tell: Narrator; typed(wish: Wish): readonly string[] },
): Decider {
  let isFirst = true
  return {
    isScripted: false,
    async decide(wish) {
      const { approval, decision, reason } = wish
      tell.chapter(decision === 'approve' ? 'Now you: approve it' : 'Now you: deny it, and say why')
      if (isFirst) {
        tell.note('Open the console in a browser, and sign in as Finn from finance: one click, no password.')
        tell.literal([`${controlUrl}/`])
      }
      tell.note(`${HINTS[decision]} For example: “${reason}”`)
      if (isFirst) {
        tell.note('(Sign in as Olivia, and you are told why you cannot.)')
        tell.note('No browser on this machine? Let one of yours reach it:')
        tell.literal([`ssh ${[controlUrl, issuer].map(tunnelTo).join(' ')} <this machine>`])
        tell.note('Or stay in the terminal, and type in a second one:')
      } else tell.note('Without a browser:')
      tell.literal(typed(wish))
      tell.note(`It is approval ${approval}. The agent keeps asking for ten minutes; Ctrl-C ends everything.`)
      isFirst = false
    },
  }
}

const HINTS: Readonly<Record<Decision, string>> = {
  approve:
    'The refund waits in the inbox. Open it: who asks is verified, what it would do is read from the call itself. ' +
    'Write why, press Approve, and come back here.',
  deny: 'The next one is in the inbox already. Open it, write why not, and press Deny: the agent gets your words.',
}

/** People and the gateway have to know the identity provider by one name: its port stays the same. */
function tunnelTo(url: string): string {
  const { host, port } = new URL(url)
  return `-L ${port}:${host}`
}

/** Somebody of the company, who decides once, from a terminal. Throws why it does not count. */
export async function decideOnce(
  { as, ...wish }: Wish & { readonly as: PersonName },
  { tell, ...where }: { issuer: string; controlUrl: string; signal: AbortSignal; tell: Narrator },
): Promise<void> {
  const { approval, decision, reason } = wish
  const reviewer = await startReviewer(as, where)
  const refusal = await reviewer.vote(decision, approval, reason)
  if (refusal) throw new Error(`${refusal.code}: ${refusal.detail}`)
  tell.note(`${PEOPLE[as].name}: ${DONE[decision]} ${approval}.`)
}

const DONE: Readonly<Record<Decision, string>> = { approve: 'approved', deny: 'denied' }
