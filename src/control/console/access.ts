import { ROLES, type Role } from '../../domain/principal.ts'

const POLICY_READERS = ['reviewer', 'auditor', 'operator', 'admin'] as const satisfies readonly Role[]
const AUDITORS = ['auditor', 'admin'] as const satisfies readonly Role[]
const LOOKERS = ['reviewer', 'owner', 'auditor'] as const satisfies readonly Role[]

/**
 * The matrix of page × role. As with the approver API it opens a page; what a person then sees on it is decided
 * approval by approval.
 */
export const PAGES = {
  'GET /': LOOKERS,
  'GET /history': LOOKERS,
  'GET /live': LOOKERS,
  'GET /approvals/:id': LOOKERS,
  'POST /approvals/:id/approve': ['reviewer'],
  'POST /approvals/:id/deny': ['reviewer'],
  'POST /approvals/:id/grant': ['reviewer'],
  'POST /approvals/:id/override': ['reviewer'],
  'POST /approvals/:id/claim': ['reviewer'],
  'POST /approvals/:id/release': ['reviewer'],
  'POST /approvals/:id/ask': ['reviewer'],
  'GET /grants': ROLES,
  'POST /grants/:id/revoke': ['reviewer', 'operator', 'admin'],
  'GET /agents': ROLES,
  'POST /agents/suspend': ['reviewer', 'owner', 'operator', 'admin'],
  'POST /agents/resume': ['operator', 'admin'],
  'GET /me': ROLES,
  'POST /me/delegations': ['reviewer'],
  'POST /me/delegations/end': ROLES,
  'POST /me/links/remove': ROLES,
  'POST /me/passkeys': ROLES,
  'POST /me/passkeys/remove': ROLES,
  'GET /link/:service': ['reviewer'],
  'GET /link/:service/start': ['reviewer'],
  'GET /link/:service/callback': ['reviewer'],
  'POST /link/:service': ['reviewer'],
  'GET /policy': POLICY_READERS,
  'POST /policy/explain': POLICY_READERS,
  'GET /audit': AUDITORS,
  'GET /audit/:seq': AUDITORS,
  'GET /audit/export': AUDITORS,
  'GET /audit/report': AUDITORS,
  'GET /audit/report/:population': AUDITORS,
} as const satisfies Record<string, readonly Role[]>

export type PageName = keyof typeof PAGES
