import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Logger } from '../../platform/logger.ts'
import type { Caller } from './guard.ts'

/** Streams of one person, and of all; a browser with many tabs has one each. */
const MOST_OF_ONE = 10
const MOST = 500
/** Changes that come at once are told together. */
const GATHER_MS = 100
/** Something is said at least so often, so that what is between does not think the stream dead. */
const BEAT_MS = 15_000
/** A stream ends, and the browser comes again by itself: groups are asked for again where they are too old. */
const LONGEST_MS = 5 * 60_000

/**
 * Tells browsers that something has changed (Server-Sent Events, WHATWG HTML, section 9.2): not what, so that each asks
 * again for what its person may see. Whether the session has ended is asked before anything is said.
 */
export function createLive({ watch, log }: { watch(told: () => void): () => void; log: Logger }) {
  const counts = new Map<string, number>()
  let all = 0

  return function stream(_request: FastifyRequest, reply: FastifyReply, caller: Caller): FastifyReply {
    const who = `${caller.person.issuer}|${caller.person.subject}`
    // Whoever left while the session was looked up is not told of again: nothing would ever end what begins here.
    if (reply.raw.closed) return reply.hijack()
    const own = counts.get(who) ?? 0
    if (own >= MOST_OF_ONE || all >= MOST) {
      // No content: the browser does not come again by itself.
      return reply.code(204).send()
    }
    counts.set(who, own + 1)
    all += 1
    reply.hijack()
    const { raw } = reply
    for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) raw.setHeader(name, value)
    raw.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'x-accel-buffering': 'no' })
    raw.write('retry: 3000\n\n')

    async function say(text: string): Promise<void> {
      const isIn = await caller.isStillIn().catch((error: unknown) => {
        log.warn({ event: 'live_unsure', err: error }, 'whether a session has ended could not be asked')
        return false
      })
      if (isIn && raw.writable) raw.write(text)
      else raw.end()
    }

    let gathering: NodeJS.Timeout | null = null
    const unwatch = watch(() => {
      gathering ??= setTimeout(() => {
        gathering = null
        void say('event: change\ndata:\n\n')
      }, GATHER_MS)
    })
    const beat = setInterval(() => void say(':\n\n'), BEAT_MS)
    const end = setTimeout(() => raw.end(), LONGEST_MS)
    raw.once('close', () => {
      unwatch()
      clearInterval(beat)
      clearTimeout(end)
      if (gathering) clearTimeout(gathering)
      all -= 1
      const left = (counts.get(who) ?? 1) - 1
      if (left === 0) counts.delete(who)
      else counts.set(who, left)
    })
    return reply
  }
}
