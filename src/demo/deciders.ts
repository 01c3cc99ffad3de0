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

/** Whoever sits at the terminal. `countersign` is what runs the command line there. */
export function inviteReviewer(
  { controlUrl }: World,
  { tell, countersign }: { tell: Narrator; countersign: readonly string[] },
): Decider {
  let isFirst = true
  return {
    isScripted: false,
    async decide({ approval, decision, reason }) {
      const [where, command] =
        countersign.length > 1 ? [countersign.slice(0, -1), countersign.at(-1)] : [[], countersign[0]]
      tell.chapter(decision === 'approve' ? 'Now you: approve it' : 'Now you: deny it, and say why')
      tell.note(isFirst ? 'Open a second terminal, and type:' : 'In the second terminal:')
      tell.literal([...where, `${command} approvals ${decision} ${approval} --url ${controlUrl} --reason "${reason}"`])
      tell.note(
        isFirst
          ? 'It names a page: open it, and sign in as Finn from finance. Then the command shows the call and asks for its ' +
              'id. (Sign in as Olivia, and you are refused, as she was.) Waiting for you, for ten minutes; Ctrl-C ends it.'
          : 'Sign in as before. Waiting for you, for ten minutes.',
      )
      isFirst = false
    },
  }
}
