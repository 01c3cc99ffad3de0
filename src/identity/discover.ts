import { allowInsecureRequests, ClientError, customFetch, discovery } from 'openid-client'
import { GatewayError } from '../domain/error.ts'
import { findPairwiseFault } from './check-issuers.ts'
import type { Fetcher } from './fetch-json.ts'
import { type IssuerOptions, isTrustworthyUrl } from './options.ts'

/**
 * Finds where an issuer publishes its keys (OpenID Connect Discovery 1.0, section 4). Throws `GatewayError`: `upstream`
 * if it cannot be asked, `config` if its answer shows that the configuration is wrong.
 */
export async function discoverKeySetUrl(options: IssuerOptions, fetcher: Fetcher, signal: AbortSignal): Promise<URL> {
  const { issuer } = options
  const server = new URL(options.discovery ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`)
  const metadata = await readMetadata(server, fetcher, signal)
  // Given the document's own URL the library compares no issuers; it would compare URLs, to which a slash is nothing.
  if (metadata.issuer !== issuer) {
    throw new GatewayError(
      'config',
      `the issuer ${issuer} calls itself ${JSON.stringify(metadata.issuer).slice(0, 200)}`,
    )
  }
  const fault = findPairwiseFault(options, metadata['subject_types_supported'])
  if (fault) throw new GatewayError('config', fault)

  const { jwks_uri: found } = metadata
  const url = found !== undefined && URL.canParse(found) ? new URL(found) : null
  const isAllowed = url !== null && isTrustworthyUrl(url) && (url.protocol === 'https:' || server.protocol === 'http:')
  if (!isAllowed) throw new GatewayError('upstream', `the issuer ${issuer} names no jwks_uri that can be trusted`)
  return url
}

async function readMetadata(server: URL, fetcher: Fetcher, signal: AbortSignal) {
  try {
    // A gateway is no client of its agents' issuers; the library wants a name for one.
    const configuration = await discovery(server, 'countersign', undefined, undefined, {
      execute: server.protocol === 'http:' ? [allowInsecureRequests] : [],
      timeout: 10,
      [customFetch]: (url, { headers, signal: timeout }) =>
        fetcher.fetch(url, { headers, signal: timeout ? AbortSignal.any([signal, timeout]) : signal }),
    })
    return configuration.serverMetadata()
  } catch (error) {
    throw toFault(error, `the issuer ${server.href} could not be discovered`)
  }
}

/** The library's errors have a code where they say what is wrong with the answer; others wrap what the fetch threw. */
function toFault(error: unknown, tried: string): GatewayError {
  if (!(error instanceof ClientError)) return new GatewayError('upstream', tried, { cause: error })
  if (error.code !== undefined) return new GatewayError('upstream', `${tried}: ${error.message}`)
  return new GatewayError('upstream', tried, { cause: error.cause ?? error })
}
