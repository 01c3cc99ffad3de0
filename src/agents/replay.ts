import { z } from 'zod'
import type { Stored } from '../domain/call.ts'

/** A kept response as it goes back to the agent. */
export interface Replay {
  readonly status: number
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: Uint8Array
}

const keptHead = z.looseObject({
  status: z.int().min(200).max(599),
  /** Names and values in turn. */
  headers: z.array(z.string()).refine((flat) => flat.length % 2 === 0),
})

// They were taken out before the response was kept, or are set anew; what is in the store is not trusted to lack them.
const NEVER_REPLAYED =
  /^(connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|set-cookie2?|content-length|cache-control|countersign-.*)$/i

/** Reads a kept response; null if it is not one. */
export function readReplay({ head, body }: Stored): Replay | null {
  const parsed = keptHead.safeParse(head)
  if (!parsed.success) return null
  const { status, headers: flat } = parsed.data
  const headers: [string, string][] = []
  for (let at = 0; at + 1 < flat.length; at += 2) {
    const [name = '', value = ''] = flat.slice(at, at + 2)
    if (!NEVER_REPLAYED.test(name)) headers.push([name, value])
  }
  return { status, headers, body }
}
