import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Customer {
  readonly id: string
  readonly name: string
  balance: number
}

interface Refund {
  readonly id: string
  readonly customer: string
  readonly amount: number
}

/** A little billing API whose data visibly changes, and which knows nothing of agents: it trusts one bearer token. */
export interface DemoUpstream {
  readonly url: string
  /** Every request it served, oldest first, for the story to show what really arrived. */
  readonly served: readonly { readonly method: string; readonly path: string; readonly assertion: string | null }[]
  close(): Promise<void>
}

const MAX_BODY_BYTES = 64 * 1024

export async function startUpstream({
  token,
  host,
  port,
}: {
  token: string
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
  const served: { method: string; path: string; assertion: string | null }[] = []

  async function answer(request: IncomingMessage): Promise<[status: number, body: unknown]> {
    const { method = 'GET', url: path = '/' } = request
    if (request.headers.authorization !== `Bearer ${token}`)
      return [401, { error: 'the billing API wants its own credential' }]
    const assertion = request.headers['countersign-assertion']
    served.push({ method, path, assertion: typeof assertion === 'string' ? assertion : null })

    const customer = customers.get(/^\/customers\/([^/]+)$/.exec(path)?.[1] ?? '')
    if (method === 'GET' && path === '/customers') return [200, [...customers.values()]]
    if (method === 'GET' && path === '/refunds') return [200, refunds]
    if (method === 'GET' && customer) return [200, customer]
    if (method === 'DELETE' && customer) {
      customers.delete(customer.id)
      return [200, { deleted: customer.id }]
    }
    if (method === 'POST' && path === '/refunds') return refund(JSON.parse(await readBody(request)))
    return [404, { error: 'no such thing' }]
  }

  function refund(wish: { customer?: unknown; amount?: unknown }): [status: number, body: unknown] {
    const customer = typeof wish.customer === 'string' ? customers.get(wish.customer) : undefined
    if (!customer || typeof wish.amount !== 'number' || wish.amount <= 0)
      return [422, { error: 'customer and amount, please' }]
    customer.balance += wish.amount
    const made = { id: `r-${refunds.length + 1}`, customer: customer.id, amount: wish.amount }
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
    server.once('error', reject).listen(port, host, resolve)
  })
  // A server that listens on TCP has an address with a port.
  const address = server.address() as AddressInfo
  return {
    url: `http://${host}:${address.port}`,
    served,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
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
