import type { AgentParts } from './desk.ts'

const WELL_KNOWN = '/.well-known/oauth-protected-resource'

/** Where a client finds out whose tokens the gateway takes (RFC 9728, section 3.1). */
export function metadataUrl(publicUrl: string, upstream: string | null): string {
  return `${publicUrl}${WELL_KNOWN}${upstream === null ? '' : `/${upstream}`}`
}

/**
 * Metadata of the gateway, or of one upstream behind it, as a protected resource (RFC 9728, section 2). A client uses it only
 * if `resource` is what it made the URL from (section 3.3), whatever audiences are configured.
 */
export function describeResource(gateway: AgentParts['gateway'], upstream: string | null) {
  const { publicUrl, authorizationServers } = gateway
  return {
    resource: upstream === null ? publicUrl : `${publicUrl}/${upstream}`,
    authorization_servers: authorizationServers,
    bearer_methods_supported: ['header'],
    resource_name: upstream === null ? 'Countersign' : `Countersign: ${upstream}`,
    jwks_uri: `${publicUrl}/.well-known/jwks.json`,
  }
}
