import { ROLES, type Role } from '../domain/principal.ts'
import type { TokenUse } from './desk.ts'

/** Who may call an endpoint, and with what kind of token. `roles` null: anyone, without a token. */
export interface Access {
  readonly roles: readonly Role[] | null
  readonly use: TokenUse
}

/**
 * The matrix of endpoint × role on the control listener. It opens an endpoint; which approvals a person then sees or
 * may vote on is decided approval by approval: those who may vote on it, the requester's owner, auditors.
 */
export const ACCESS = {
  'GET /v1/sign-in': { roles: null, use: 'read' },
  'GET /v1/openapi.json': { roles: null, use: 'read' },
  'GET /v1/whoami': { roles: ROLES, use: 'read' },
  'GET /v1/approvals': { roles: ['reviewer', 'owner', 'auditor'], use: 'read' },
  'GET /v1/approvals/:id': { roles: ['reviewer', 'owner', 'auditor'], use: 'read' },
  'POST /v1/approvals/:id/approve': { roles: ['reviewer'], use: 'vote' },
  'POST /v1/approvals/:id/deny': { roles: ['reviewer'], use: 'vote' },
  'POST /v1/approvals/:id/override': { roles: ['reviewer'], use: 'vote' },
  'POST /v1/approvals/:id/claim': { roles: ['reviewer'], use: 'vote' },
  'POST /v1/approvals/:id/release': { roles: ['reviewer'], use: 'vote' },
  'POST /v1/approvals/:id/ask': { roles: ['reviewer'], use: 'vote' },
  'GET /v1/grants': { roles: ROLES, use: 'read' },
  'POST /v1/grants/:id/revoke': { roles: ['reviewer', 'operator', 'admin'], use: 'vote' },
  'GET /v1/delegations': { roles: ROLES, use: 'read' },
  'POST /v1/delegations': { roles: ['reviewer'], use: 'vote' },
  'POST /v1/delegations/:id/end': { roles: ROLES, use: 'vote' },
  'GET /v1/agents': { roles: ROLES, use: 'read' },
  // To stop is always allowed; to let go on is for those who run the place.
  'POST /v1/agents/suspend': { roles: ['reviewer', 'owner', 'operator', 'admin'], use: 'vote' },
  'POST /v1/agents/resume': { roles: ['operator', 'admin'], use: 'vote' },
} as const satisfies Record<string, Access>

export type EndpointName = keyof typeof ACCESS

export function mayEnter(access: Access, roles: readonly Role[]): boolean {
  return access.roles === null || roles.some((role) => access.roles?.includes(role))
}
