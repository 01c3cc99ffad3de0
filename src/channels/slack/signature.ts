import { createHmac, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'

/** Older requests are refused, and the same span into the future. */
const WINDOW_MS = 5 * 60_000

/**
 * Whether a request was signed by Slack with this secret in the last five minutes: HMAC-SHA256 over `v0:timestamp:body`
 * (https://docs.slack.dev/authentication/verifying-requests-from-slack). `body` is the raw bytes.
 */
export function isSignedBySlack(
  request: { readonly headers: IncomingHttpHeaders; readonly body: Uint8Array },
  secret: string,
  nowMs: number,
): boolean {
  const timestamp = request.headers['x-slack-request-timestamp']
  const claimed = request.headers['x-slack-signature']
  if (typeof timestamp !== 'string' || !/^[0-9]{1,12}$/.test(timestamp)) return false
  if (typeof claimed !== 'string' || !/^v0=[0-9a-f]{64}$/.test(claimed)) return false
  if (Math.abs(nowMs - Number(timestamp) * 1000) > WINDOW_MS) return false
  const mac = createHmac('sha256', secret).update(`v0:${timestamp}:`).update(request.body).digest()
  return timingSafeEqual(mac, Buffer.from(claimed.slice('v0='.length), 'hex'))
}
