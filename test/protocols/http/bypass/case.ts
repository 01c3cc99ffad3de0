/**
 * One way past a gateway that was found in the field, as bytes on a socket. `{token}` stands for a valid token; the
 * requests are for an upstream named `billing` that is mounted by path.
 */
export interface BypassCase {
  readonly name: string
  /** Latin-1; each piece is written on its own. */
  readonly send: readonly string[]
  /** Whether a rule that applies reads the body. */
  readonly isBodyRead?: boolean
  /** 0: the connection ends without an answer. */
  readonly status: number
  readonly code?: string
  /** Null: nothing reached the upstream. Otherwise what its request held, and what it did not. */
  readonly upstream: null | { readonly holds: readonly string[]; readonly lacks?: readonly (string | RegExp)[] }
}

/** A request head and body with what every request needs; `lines` are further header lines. */
export function request(line: string, lines: readonly string[] = [], body = ''): string {
  const head = [line, 'Host: gateway.test', 'Authorization: Bearer {token}', ...lines]
  return `${head.join('\r\n')}\r\n\r\n${body}`
}

export function get(target: string, lines: readonly string[] = []): string {
  return request(`GET ${target} HTTP/1.1`, lines)
}

/** A POST whose Content-Length fits. */
export function post(type: string | null, body: string, lines: readonly string[] = [], target = '/billing/x'): string {
  const own = [...(type === null ? [] : [`Content-Type: ${type}`]), `Content-Length: ${body.length}`]
  return request(`POST ${target} HTTP/1.1`, [...own, ...lines], body)
}

/** Refused before it is a call: nothing is forwarded, nobody is asked. */
export function malformed(name: string, ...send: readonly string[]): BypassCase {
  return { name, send, status: 400, code: 'malformed', upstream: null }
}

export function forwarded(
  name: string,
  send: string,
  holds: readonly string[],
  lacks: readonly (string | RegExp)[] = [],
): BypassCase {
  return { name, send: [send], status: 200, upstream: { holds, lacks } }
}
