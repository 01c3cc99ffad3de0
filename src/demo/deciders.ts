import type { Narrator } from './narrator.ts'
import { startReviewer } from './reviewer.ts'
import { type Decider, prove, type World } from './story.ts'

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

/** Whoever sits at the terminal. `countersign` is what to type there to run the command line. */
export function inviteReviewer(
  { controlUrl }: World,
  { tell, countersign }: { tell: Narrator; countersign: readonly string[] },
): Decider {
  let isFirst = true
  return {
    isScripted: false,
    async decide({ approval, decision, reason }) {
      tell.chapter(decision === 'approve' ? 'Now you: approve it' : 'Now you: deny it, and say why')
      tell.note(isFirst ? 'Open a second terminal, and type:' : 'In the second terminal, type:')
      const [command = '', ...before] = countersign.toReversed()
      const typed = `${command} approvals ${decision} ${approval} --url ${controlUrl} --reason "${reason}"`
      tell.literal(isFirst ? [...before.toReversed(), typed] : [typed])
      tell.note(isFirst ? FIRST_HINT : 'Sign in as before. The agent waits for ten minutes.')
      isFirst = false
    },
  }
}

const FIRST_HINT =
  'It names a page: open it, and sign in as Finn from finance. Then it shows the call, and asks for its id. (Sign in as ' +
  'Olivia, and you are refused, as she was.) The agent waits for ten minutes; Ctrl-C ends everything.'
