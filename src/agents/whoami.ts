import type { Group, Party, Principal } from '../domain/principal.ts'

/** Who the gateway takes a caller for: what policy will see of it. */
export function describePrincipal(principal: Principal) {
  const { onBehalfOf, actors, owner, groups, client, expiresAt } = principal
  return {
    ...describeParty(principal),
    on_behalf_of: onBehalfOf && describeParty(onBehalfOf),
    actors: actors.map(describeParty),
    owner: owner && describeParty(owner),
    groups: groups.map(({ issuerName, name }: Group) => `${issuerName}/${name}`),
    client,
    expires_at: new Date(expiresAt * 1000).toISOString(),
  }
}

function describeParty({ issuer, subject }: Party): Party {
  return { issuer, subject }
}
