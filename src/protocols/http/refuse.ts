import { problemHeaders, problemOf } from '../../domain/problem.ts'
import type { Refusal } from '../../domain/refusal.ts'

/** A refusal as HTTP says it: problem details (RFC 9457) under the status of its code. */
export function describeRefusal(
  why: Refusal,
  {
    callId,
    service,
  }: { callId: string; service: { readonly publicUrl: string; readonly upstream: { readonly name: string } } },
): { readonly status: number; readonly headers: Readonly<Record<string, string>>; readonly text: string } {
  const problem = problemOf(why, { callId, publicUrl: service.publicUrl })
  const metadataUrl = `${service.publicUrl}/.well-known/oauth-protected-resource/${service.upstream.name}`
  return { status: problem.status, headers: problemHeaders(why, metadataUrl), text: `${JSON.stringify(problem)}\n` }
}
