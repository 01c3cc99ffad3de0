import { createHash } from 'node:crypto'
import { z } from 'zod'
import { type ShownWire, shownSchema } from '../control/wire.ts'
import { canonicalJson } from '../domain/canonical.ts'
import { GatewayError } from '../domain/error.ts'
import type { ControlClient } from './control-client.ts'

/**
 * An approval with its card, which is hashed here once more: what is shown, and then voted on, is the card of that hash.
 *
 * @throws GatewayError `upstream` if it is not.
 */
export async function fetchShown(client: ControlClient, id: string): Promise<ShownWire> {
  const raw = await client.get(
    `/v1/approvals/${encodeURIComponent(id.toUpperCase())}`,
    z.record(z.string(), z.unknown()),
  )
  const parsed = shownSchema.safeParse(raw)
  if (!parsed.success) throw new GatewayError('upstream', `${client.url} does not answer as a control listener does`)
  const { approval, card } = parsed.data
  // The hash covers what was sent, also what this release does not know of.
  if (card !== null && hashCard(raw['card']) !== approval.card_hash) {
    throw new GatewayError('upstream', `the card of ${approval.id} is not the one of its hash: do not vote on it`)
  }
  return parsed.data
}

function hashCard(card: unknown): string {
  return createHash('sha256').update(canonicalJson(card), 'utf8').digest('hex')
}
