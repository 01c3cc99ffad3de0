import { Pool } from 'undici'

/** Where an upstream is reached. */
export interface UpstreamAddress {
  /** An http or https URL; only its origin counts here. */
  readonly url: URL
  /** PEM certificates to trust instead of the system's; null trusts the system's. */
  readonly ca: string | null
  readonly connectTimeoutMs: number
}

/**
 * The connections to one upstream. A certificate that does not verify is refused before the credential is sent,
 * whatever the environment says. Nothing is redirected or retried. Connections are as many as calls under way, which
 * the listener bounds.
 */
export function connectUpstream(address: UpstreamAddress, isForTunnels = false): Pool {
  return new Pool(address.url.origin, {
    connect: {
      timeout: address.connectTimeoutMs,
      rejectUnauthorized: true,
      minVersion: 'TLSv1.2',
      ...(address.ca === null ? {} : { ca: address.ca }),
      // A tunnel may be closed on one side and go on at the other.
      ...(isForTunnels ? { allowHalfOpen: true } : {}),
    },
    allowH2: false,
    pipelining: 1,
    maxHeaderSize: 64 * 1024,
  })
}
