import http, { type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { problemHeaders, problemOf } from '../../domain/problem.ts'
import { type Refusal, refuse } from '../../domain/refusal.ts'
import type { Malformed } from './malformed.ts'

/** What the gateway says to a request that it did not read. */
export interface UnreadAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

/** `callId` is null for what is no call, whatever came of it. */
export function answerUnread(why: Refusal, callId: string | null): UnreadAnswer {
  const problem = problemOf(why, callId === null ? {} : { callId })
  return toAnswer(problem.status, problem, { ...problemHeaders(why, null), ...named(callId) })
}

export function answerMalformed({ detail, status }: Malformed, callId: string): UnreadAnswer {
  const why = refuse('malformed', `Not executed. The request was refused unread: ${detail}.`)
  const problem = problemOf(why, { callId })
  const answered = status ?? problem.status
  return toAnswer(answered, { ...problem, status: answered }, { ...problemHeaders(why, null), ...named(callId) })
}

function named(callId: string | null): Record<string, string> {
  return callId === null ? {} : { 'countersign-call': callId }
}

function toAnswer(status: number, problem: object, headers: Record<string, string>): UnreadAnswer {
  const body = Buffer.from(JSON.stringify(problem))
  return { status, headers: { ...headers, 'content-length': String(body.length) }, body }
}

/**
 * Answers, and ends the connection: a request that was not understood may have a body whose end is not understood either.
 */
export function endWith(response: ServerResponse, { status, headers, body }: UnreadAnswer): void {
  response.shouldKeepAlive = false
  response.writeHead(status, { ...headers, connection: 'close' })
  response.end(body)
}

/** The same on a socket that HTTP does not serve, or not any more. */
export function endRawWith(socket: Duplex, { status, headers, body }: UnreadAnswer): void {
  let head = `HTTP/1.1 ${status} ${http.STATUS_CODES[status] ?? ''}\r\n`
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`
  head += 'connection: close\r\n\r\n'
  socket.end(Buffer.concat([Buffer.from(head, 'latin1'), body]), () => socket.destroy())
}
