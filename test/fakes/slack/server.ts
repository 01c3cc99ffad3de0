import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { type Clock, systemClock } from '../../../src/platform/clock.ts'
import { type Callbacks, createCallbacks } from './callbacks.ts'
import { readEphemeral } from './ephemeral.ts'
import { type Answer, RULES } from './methods.ts'
import { createFakeOpenId, type FakeOpenId } from './openid.ts'
import { createSockets, type Sockets } from './sockets.ts'
import { createState, type FakeState, type FakeUser } from './state.ts'

/**
 * What to do instead of answering properly. `lost`: the method takes effect, and the connection breaks before the
 * answer. `down`: it breaks before anything.
 */
export type Mishap =
  | { readonly kind: 'down' | 'lost' | 'html' }
  | { readonly kind: 'status'; readonly status: number }
  | { readonly kind: 'rate_limited'; readonly retryAfterS: number }
  | { readonly kind: 'slow'; readonly ms: number }
  | { readonly kind: 'error'; readonly error: string }

export interface FakeSlack extends Callbacks {
  readonly apiUrl: string
  readonly state: FakeState
  readonly sockets: Sockets
  readonly openid: FakeOpenId
  /** Every request that was made, mishaps included. */
  readonly calls: { readonly method: string; readonly args: ReadonlyMap<string, string> }[]
  countCalls(method: string): number
  /** The next `times` calls of a method go wrong; `*` is every method. */
  mishap(method: string, how: Mishap, times?: number): void
  /** Ends the mishaps that are left. */
  recover(): void
  addUser(user: Partial<FakeUser> & { readonly id: string }): FakeUser
  close(): Promise<void>
}

const ONE_MINUTE_MS = 60_000

/** A Slack on loopback that refuses what Slack refuses. `ackMs`: how long it waits for an acknowledgement. */
export async function startFakeSlack({
  clock = systemClock,
  ackMs = 3000,
  signingSecret = '0123456789abcdef0123456789abcdef',
}: {
  readonly clock?: Clock
  readonly ackMs?: number
  readonly signingSecret?: string
} = {}): Promise<FakeSlack> {
  const state = createState(clock)
  const openid = await createFakeOpenId(state, () => base)
  const calls: FakeSlack['calls'] = []
  const mishaps: { readonly method: string; readonly how: Mishap; left: number }[] = []
  const recent = new Map<string, number[]>()
  const server = createServer((request, response) => {
    serve(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined))
  })
  const sockets = createSockets(server, state, ackMs)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  // A server that listens on TCP has such an address.
  const { port } = server.address() as AddressInfo
  const base = `http://127.0.0.1:${port}`
  state.socketBase = `ws://127.0.0.1:${port}`

  async function serve(request: IncomingMessage, response: ServerResponse) {
    const { pathname } = new URL(request.url ?? '', base)
    const body = await read(request)
    if (await openid.serve(request, body, response)) return
    if (/^\/(actions|commands)\//.test(pathname)) return answerResponseUrl(request, body, response)
    if (!pathname.startsWith('/api/')) return end(response, 404, 'text/html', 'Not found')
    const method = pathname.slice('/api/'.length)
    const args = new Map(new URLSearchParams(body))
    calls.push({ method, args })

    const how = takeMishap(method)
    if (how?.kind === 'down') return void request.socket.destroy()
    if (how?.kind === 'html') return end(response, 200, 'text/html', '<html>maintenance</html>')
    if (how?.kind === 'status') return end(response, how.status, 'text/html', 'oops')
    if (how?.kind === 'error') return json(response, { ok: false, error: how.error })
    if (how?.kind === 'slow') await delay(how.ms)
    const wait = how?.kind === 'rate_limited' ? how.retryAfterS : overRate(method)
    if (wait !== null) {
      response.setHeader('retry-after', String(wait))
      return json(response, { ok: false, error: 'ratelimited' }, 429)
    }
    const answer = perform(request, method, args)
    if (how?.kind === 'lost') return void request.socket.destroy()
    return json(response, answer)
  }

  function perform(request: IncomingMessage, method: string, args: ReadonlyMap<string, string>): Answer {
    const rule = RULES[method]
    if (!rule) return { ok: false, error: 'unknown_method', req_method: method }
    if (request.method !== 'POST') return { ok: false, error: 'invalid_post_type' }
    if (request.headers['content-type'] !== 'application/x-www-form-urlencoded') {
      return { ok: false, error: 'invalid_post_type' }
    }
    const token = /^Bearer (.+)$/.exec(request.headers.authorization ?? '')?.[1]
    if (token === undefined) return { ok: false, error: 'not_authed' }
    if (token !== state.botToken && token !== state.appToken) return { ok: false, error: 'invalid_auth' }
    if (token !== (rule.token === 'bot' ? state.botToken : state.appToken)) {
      return { ok: false, error: 'not_allowed_token_type' }
    }
    if (state.isTokenRevoked) return { ok: false, error: 'token_revoked' }
    if (rule.scopes.length > 0 && !rule.scopes.some((scope) => state.scopes.has(scope))) {
      return { ok: false, error: 'missing_scope', needed: rule.scopes.join(','), provided: [...state.scopes].join(',') }
    }
    return rule.run(state, args)
  }

  function takeMishap(method: string): Mishap | null {
    const next = mishaps.find((one) => one.left > 0 && (one.method === method || one.method === '*'))
    if (!next) return null
    next.left -= 1
    return next.how
  }

  function overRate(method: string): number | null {
    const now = clock.now()
    const last = (recent.get(method) ?? []).filter((at) => now - at < ONE_MINUTE_MS)
    recent.set(method, [...last, now])
    const [oldest] = last
    if (oldest === undefined || last.length < (RULES[method]?.perMinute ?? 60)) return null
    return Math.max(1, Math.ceil((oldest + ONE_MINUTE_MS - now) / 1000))
  }

  function answerResponseUrl(request: IncomingMessage, body: string, response: ServerResponse) {
    const entry = state.responseUrls.get(`${base}${request.url}`)
    const isLive = entry && entry.uses < 5 && clock.now() - entry.at < 30 * ONE_MINUTE_MS
    if (!isLive) return json(response, { ok: false, error: 'expired_url' }, 404)
    if (!request.headers['content-type']?.startsWith('application/json')) {
      return json(response, { ok: false, error: 'invalid_payload' }, 400)
    }
    const sent: unknown = JSON.parse(body)
    entry.uses += 1
    const { channel, user } = entry
    try {
      const shown = readEphemeral({ ...(sent as Record<string, unknown>) })
      state.ephemerals.push({ channel, user, ...shown, thread_ts: undefined, via: 'response_url' })
    } catch (error) {
      return json(response, { ok: false, error: String(error) }, 500)
    }
    end(response, 200, 'text/plain', 'ok')
  }

  return {
    ...createCallbacks({ state, sockets, base, signingSecret, ackMs }),
    apiUrl: `${base}/api/`,
    state,
    sockets,
    openid,
    calls,
    countCalls: (method) => calls.filter((call) => call.method === method).length,
    mishap(method, how, times = 1) {
      mishaps.push({ method, how, left: times })
    },
    recover() {
      mishaps.length = 0
    },
    addUser(user) {
      const added: FakeUser = {
        team_id: state.teamId,
        name: user.id.toLowerCase(),
        deleted: false,
        is_bot: false,
        is_restricted: false,
        is_ultra_restricted: false,
        ...user,
      }
      state.users.set(user.id, added)
      for (const channel of state.channels.values()) channel.members.add(user.id)
      return added
    },
    async close() {
      sockets.closeAll()
      server.close()
      server.closeAllConnections()
      await once(server, 'close')
    },
  }
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(Buffer.from(chunk))
  return Buffer.concat(chunks).toString('utf8')
}

function json(response: ServerResponse, body: Answer, status = 200): void {
  end(response, status, 'application/json; charset=utf-8', JSON.stringify(body))
}

function end(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { 'content-type': type }).end(body)
}
