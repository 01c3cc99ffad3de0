import type { IncomingMessage, ServerResponse } from 'node:http'

const EXPECTS_CONTINUE = Symbol('whether the client waits for 100 Continue')

interface WaitingRequest extends IncomingMessage {
  [EXPECTS_CONTINUE]?: boolean
}

/** Remembers that the client sends no body before it was told to. */
export function noteExpectation(request: IncomingMessage): void {
  const waiting: WaitingRequest = request
  waiting[EXPECTS_CONTINUE] = true
}

/** Tells a client that waits for it to send the body. Nothing happens for others, or a second time. */
export function continueIfExpected(request: IncomingMessage, response: ServerResponse): void {
  const waiting: WaitingRequest = request
  if (!waiting[EXPECTS_CONTINUE]) return
  waiting[EXPECTS_CONTINUE] = false
  response.writeContinue()
}

/** Whether the client still waits for 100 Continue, so that it has sent nothing of its body. */
export function isWaitingToContinue(request: IncomingMessage): boolean {
  return (request as WaitingRequest)[EXPECTS_CONTINUE] === true
}
