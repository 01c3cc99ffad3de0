import { createHash } from 'node:crypto'
import { z } from 'zod'
import { approvalIdSchema, type ShownWire, shownSchema } from '../control/wire.ts'
import { canonicalJson } from '../domain/canonical.ts'
import { GatewayError } from '../domain/error.ts'
import { makeVisible } from '../domain/visible.ts'
import { UsageError } from './cli-parse.ts'
import type { ControlClient } from './control-client.ts'

/**
 * An approval with its card, which is hashed here once more: what is shown, and then voted on, is the card of that hash.
 *
 * @throws GatewayError `upstream` if it is not.
 */
export async function fetchShown(client: ControlClient, id: string): Promise<ShownWire> {
  const raw = await client.get(`/v1/approvals/${encodeURIComponent(id)}`, z.record(z.string(), z.unknown()))
  const parsed = shownSchema.safeParse(raw)
  if (!parsed.success) throw new GatewayError('upstream', `${client.url} does not answer as a control listener does`)
  const { approval, card } = parsed.data
  // The hash covers what was sent, also what this release does not know of.
  if (card !== null && hashCard(raw['card']) !== approval.card_hash) {
    throw new GatewayError('upstream', `the card of ${approval.id} is not the one of its hash: do not vote on it`)
  }
  return parsed.data
}

/**
 * An approval's id as it is written, before anybody signs in to ask for it.
 *
 * @throws UsageError if it cannot be one.
 */
export function readApprovalId(text: string): string {
  const id = text.toUpperCase()
  if (approvalIdSchema.safeParse(id).success) return id
  throw new UsageError(
    `There is no such approval: ${makeVisible(text)} is not an approval’s id, which has ten letters and digits`,
  )
}

function hashCard(card: unknown): string {
  return createHash('sha256').update(canonicalJson(card), 'utf8').digest('hex')
}
