import { dirname, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { inviteReviewer, scriptReviewer } from './deciders.ts'
import { showEvidence } from './evidence.ts'
import type { Narrator } from './narrator.ts'
import { findPlace, usePlace } from './place.ts'
import { playStory } from './story.ts'
import { startWorld } from './world.ts'

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
    const countersign = [`cd ${ROOT}`, 'npm run -s countersign --']
    const decider = isAuto ? scriptReviewer(world, { tell, signal }) : inviteReviewer(world, { tell, countersign })
    const ending = await playStory(world, { tell, decider, signal })
    if (ending === 'unattended') {
      tell.note('Nobody decided, so the demo ends here. Nothing that was held has been forwarded. Come back any time.')
      return
    }
    await showEvidence({ configFile: world.configFile, directory: place.directory, tell, signal })
    tell.chapter(isAuto ? 'Every step did what it should.' : 'That was it.')
  } finally {
    await place.leave()
  }
}
