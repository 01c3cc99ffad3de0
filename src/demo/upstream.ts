import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { z } from 'zod'

interface Customer {
  readonly id: string
  readonly name: string
  balance: number
}

interface Refund {
  readonly id: string
  readonly customer: string
  readonly amount: number
  readonly order: string | null
}

const arrival = z.object({
  method: z.string(),
  path: z.string(),
  /** Whether the gateway said, signed, for whom and under which approval the call is made. */
  isAsserted: z.boolean(),
})
/** One request as it arrived, for the story to show what really did. */
export type Arrival = Readonly<z.infer<typeof arrival>>
export const arrivalsSchema = z.array(arrival)

/** Where anybody on this machine may ask what arrived. It is not an arrival itself. */
export const ARRIVALS_PATH = '/.arrivals'

export interface DemoUpstream {
  readonly url: string
  close(): Promise<void>
}

const MAX_BODY_BYTES = 64 * 1024
const MAX_ARRIVALS = 1_000

const wishSchema = z.object({ customer: z.string(), amount: z.number().positive(), order: z.string().optional() })

/**
 * A little billing API whose data visibly changes, and which knows nothing of agents: it trusts one bearer token, or,
 * with a null token, everybody who can reach it.
 */
export async function startUpstream(where: {
  token: string | null
  host: string
  port: number
}): Promise<DemoUpstream> {
  const customers = new Map<string, Customer>(
    [
      { id: 'c-1', name: 'Ada Lovelace', balance: 1200 },
      { id: 'c-2', name: 'Grace Hopper', balance: 310 },
      { id: 'c-3', name: 'Edsger Dijkstra', balance: 95 },
    ].map((customer) => [customer.id, customer]),
  )
  const refunds: Refund[] = []
  const arrivals: Arrival[] = []

  async function answer(request: IncomingMessage): Promise<[status: number, body: unknown]> {
    const { method = 'GET', url: path = '/', headers } = request
    if (method === 'GET' && path === ARRIVALS_PATH) return [200, arrivals]
    if (!isTrusted(headers.authorization, where.token))
      return [401, { error: 'the billing API wants its own credential' }]
    arrivals.push({ method, path, isAsserted: headers['countersign-assertion'] !== undefined })
    if (arrivals.length > MAX_ARRIVALS) arrivals.shift()

    const customer = customers.get(/^\/customers\/([^/]+)$/.exec(path)?.[1] ?? '')
    if (method === 'GET' && path === '/customers') return [200, [...customers.values()]]
    if (method === 'GET' && path === '/refunds') return [200, refunds]
    if (method === 'GET' && customer) return [200, customer]
    if (method === 'DELETE' && customer) {
      customers.delete(customer.id)
      return [200, { deleted: customer.id }]
    }
    if (method === 'POST' && path === '/refunds') return refund(await readBody(request))
    return [404, { error: 'no such thing' }]
  }

  function refund(body: string): [status: number, body: unknown] {
    const { data: wish } = wishSchema.safeParse(JSON.parse(body))
    const customer = wish && customers.get(wish.customer)
    if (!customer) return [422, { error: 'customer and amount, please' }]
    customer.balance += wish.amount
    const made: Refund = {
      id: `r-${refunds.length + 1}`,
      customer: customer.id,
      amount: wish.amount,
      order: wish.order ?? null,
    }
    refunds.push(made)
    return [201, made]
  }

  const server = createServer((request, response) => {
    answer(request)
      .catch((error: unknown): [number, unknown] => [
        400,
        { error: error instanceof Error ? error.message : 'bad request' },
      ])
      .then(([status, body]) => {
        response.writeHead(status, { 'content-type': 'application/json' }).end(`${JSON.stringify(body)}\n`)
      })
      .catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(where.port, where.host, resolve)
  })
  // A server that listens on TCP has an address with a port.
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${where.host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function isTrusted(authorization: string | undefined, token: string | null): boolean {
  if (token === null) return true
  const [given, wanted] = [authorization ?? '', `Bearer ${token}`].map((text) =>
    createHash('sha256').update(text).digest(),
  )
  return given !== undefined && wanted !== undefined && timingSafeEqual(given, wanted)
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > MAX_BODY_BYTES) throw new Error('too large')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
