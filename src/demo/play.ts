import { dirname, relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { inviteReviewer, scriptReviewer } from './deciders.ts'
import { DEFAULTS } from './defaults.ts'
import { showEvidence } from './evidence.ts'
import type { Narrator } from './narrator.ts'
import { findPlace, usePlace } from './place.ts'
import { playStory, type Wish, type World } from './story.ts'
import { startWorld } from './world.ts'

const LOOK_AROUND_MS = 3_600_000

const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

/**
 * The main job on one machine: starts everything, plays the story, verifies the log, and ends what it started. Throws if
 * anything is not what it should be.
 */
export async function playDemo({
  isAuto,
  dataDir,
  tell,
  signal,
}: {
  /** Whether a scripted reviewer decides. */
  isAuto: boolean
  /** Null: wherever there is room. */
  dataDir: string | null
  tell: Narrator
  signal: AbortSignal
}): Promise<void> {
  const place = dataDir === null ? await findPlace(ROOT) : await usePlace(dataDir)
  try {
    tell.chapter('Countersign: an agent works on a billing API, through a gateway')
    tell.note('Starting a Postgres, an identity provider, the gateway, and the API …')
    await using world = await startWorld(place.directory, { hasWellKnownPorts: !isAuto, signal })
    tell.note(`Agents call ${world.gatewayUrl}, people decide at ${world.controlUrl}, both sign in at ${world.issuer}.`)
    const shown = relative(process.cwd(), place.directory)
    tell.note(`The policy, the logs and the data are in ${shown.startsWith('..') ? place.directory : shown}.`)
    const typed = (wish: Wish) => [`cd ${ROOT}`, commandFor(wish, world)]
    const decider = isAuto ? scriptReviewer(world, { tell, signal }) : inviteReviewer(world, { tell, typed })
    const ending = await playStory(world, { tell, decider, signal })
    if (ending === 'unattended') {
      tell.note('Nobody decided, so the demo ends here. Nothing that was held has been forwarded. Come back any time.')
      return
    }
    await showEvidence({ configFile: world.configFile, directory: place.directory, tell, signal })
    if (isAuto) tell.chapter('Every step did what it should.')
    else await lookAround(world, { tell, signal })
  } finally {
    await place.leave()
  }
}

function commandFor({ approval, decision, reason }: Wish, { controlUrl, issuer }: World): string {
  const isUsual = controlUrl === DEFAULTS.control && issuer === DEFAULTS.issuer
  const where = isUsual ? '' : ` --control ${controlUrl} --issuer ${issuer}`
  return `npm run -s demo -- ${decision} ${approval}${where} --reason "${reason}"`
}

/** Everything goes on running until somebody has seen enough. */
async function lookAround(
  { controlUrl }: World,
  { tell, signal }: { tell: Narrator; signal: AbortSignal },
): Promise<void> {
  tell.chapter('That was it. Look around in the console as long as you like')
  tell.note('Sign out there, and in again as Aud, the auditor: every step that you just saw is an entry of the log.')
  tell.literal([`${controlUrl}/audit`])
  tell.note('As Finn, open one of the calls and stop its agent. Only Otto, who operates the gateway, lets it go on.')
  tell.literal([`${controlUrl}/history`])
  tell.note('Ask what the policy would say to a call that you describe.')
  tell.literal([`${controlUrl}/policy`])
  tell.note('Ctrl-C ends everything; by itself it ends in an hour.')
  // Rejected by Ctrl-C alone, which is how one leaves here.
  await sleep(LOOK_AROUND_MS, undefined, { signal }).catch(() => undefined)
  tell.note('Everything that was started is being ended.')
}
