import type { Receiver, ReceiverEvent } from '@slack/bolt'
import type { FastifyPluginAsync } from 'fastify'
import type { Clock } from '../../platform/clock.ts'
import type { Logger } from '../../platform/logger.ts'
import { COMMAND } from './payload.ts'
import { isSignedBySlack } from './signature.ts'

/**
 * Where Slack posts in HTTP mode: the app's Request URL for interactivity, and that of its command, is the control
 * listener's URL with this path.
 */
export const CALLBACK_PATH = '/slack/interactivity'

/** A press carries the message it was made on, form-encoded; 50 blocks of JSON stay far below this. */
const MAX_BODY_BYTES = 1024 * 1024

/** Besides the command, everything else that Slack could post (events, shortcuts) has no business here. */
const TYPES = new Set(['block_actions', 'view_submission'])

type Process = (event: ReceiverEvent) => Promise<void>

/**
 * Slack's callbacks over HTTP: a receiver for Bolt, and the Fastify plugin that feeds it. The plugin adds one route and
 * its own body parser to the listener it is registered on; the route answers nothing that is not signed.
 */
export function createHttpReceiver(parts: {
  readonly signingSecret: string
  readonly clock: Clock
  readonly log: Logger
  readonly onRefused: () => void
}): { readonly receiver: Receiver; readonly plugin: FastifyPluginAsync } {
  const { signingSecret, clock, log, onRefused } = parts
  let handle: Process | null = null

  const receiver: Receiver = {
    init(app) {
      handle = (event) => app.processEvent(event)
    },
    start: async () => {},
    stop: async () => {
      handle = null
    },
  }

  const plugin: FastifyPluginAsync = async (listener) => {
    listener.removeAllContentTypeParsers()
    listener.addContentTypeParser(
      'application/x-www-form-urlencoded',
      { parseAs: 'buffer', bodyLimit: MAX_BODY_BYTES },
      (_request, body, done) => done(null, body),
    )
    listener.post(CALLBACK_PATH, { bodyLimit: MAX_BODY_BYTES }, async (request, reply) => {
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0)
      if (!isSignedBySlack({ headers: request.headers, body }, signingSecret, clock.now())) {
        onRefused()
        return reply.code(401).send()
      }
      const payload = readPayload(body)
      if (!payload) return reply.code(400).send()
      if (!handle) return reply.code(503).send()
      const answer = await acknowledge(handle, payload, log)
      return answer === null ? reply.code(200).send() : reply.code(200).type('application/json').send(answer)
    })
  }
  return { receiver, plugin }
}

/** What the app acknowledges with, as JSON; null for a bare acknowledgement. */
function acknowledge(handle: Process, body: Record<string, unknown>, log: Logger): Promise<string | null> {
  return new Promise((resolve) => {
    const ack = async (answer?: unknown) => {
      resolve(typeof answer === 'object' && answer !== null ? JSON.stringify(answer) : null)
    }
    handle({ body, ack })
      .catch((error: unknown) => log.error({ err: error }, 'a callback of Slack could not be handled'))
      // Whatever happened, Slack is not left waiting.
      .finally(() => resolve(null))
  })
}

function readPayload(body: Buffer): Record<string, unknown> | null {
  const form = new URLSearchParams(body.toString('utf8'))
  const fields = form.getAll('payload')
  if (fields.length === 0) return readCommand(form)
  if (fields.length !== 1 || fields[0] === undefined) return null
  try {
    const payload: unknown = JSON.parse(fields[0])
    if (typeof payload !== 'object' || payload === null || !('type' in payload)) return null
    return typeof payload.type === 'string' && TYPES.has(payload.type) ? { ...payload } : null
  } catch {
    return null
  }
}

/** A command comes as a form of its own, each field once. */
function readCommand(form: URLSearchParams): Record<string, unknown> | null {
  const fields = Object.fromEntries(form)
  return form.get('command') === COMMAND && Object.keys(fields).length === form.size ? fields : null
}
