import type { AddressInfo } from 'node:net'
import { connect, createServer, type Socket } from 'node:net'

/** One statement as a gateway sends it: what it says, and the bytes that carry its parameters. */
export interface Statement {
  readonly sql: string
  readonly bytes: string
  /** The statements of the same connection since its last BEGIN, oldest first. */
  readonly before: readonly string[]
}

/**
 * Where a connection is stopped: before the store gets the statement, or once the store has answered it and the gateway
 * has not heard.
 */
export type Side = 'statement' | 'answer'

export interface Caught {
  /** Resolves when so many connections stand still. */
  reached(count: number): Promise<void>
  /** Lets those that stand still go on, and catches no more. */
  release(): void
}

/** A way to the store that can be cut, and on which a gateway can be stopped between any two statements. */
export interface StoreProxy {
  /** The store's URL, by way of the proxy. */
  readonly url: string
  catchAt(side: Side, isMeant: (statement: Statement) => boolean): Caught
  /** Ends every connection and refuses new ones, until `restore`. */
  cut(): void
  restore(): void
  close(): Promise<void>
}

interface Trap {
  readonly side: Side
  readonly isMeant: (statement: Statement) => boolean
  hit(connection: Connection): void
}

interface Connection {
  destroy(): void
  release(): void
}

/** Reads the messages of PostgreSQL's frontend protocol (version 3) just far enough to know each statement. */
export async function startStoreProxy(storeUrl: string): Promise<StoreProxy> {
  const store = new URL(storeUrl)
  const connections = new Set<Connection>()
  let trap: Trap | null = null
  let isCut = false

  const server = createServer((client) => {
    if (isCut) {
      client.destroy()
      return
    }
    const connection = relay(client, {
      store: connect(Number(store.port), store.hostname),
      trap: () => trap,
      closed: () => connections.delete(connection),
    })
    connections.add(connection)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo // it listens on TCP
  const url = new URL(storeUrl)
  url.host = `127.0.0.1:${port}`

  return {
    url: url.href,
    catchAt(side, isMeant) {
      const still = new Set<Connection>()
      const waiting = new Set<{ count: number; resolve: () => void }>()
      const mine: Trap = {
        side,
        isMeant,
        hit(connection) {
          still.add(connection)
          for (const one of waiting) if (still.size >= one.count) one.resolve()
        },
      }
      trap = mine
      return {
        reached: (count) =>
          new Promise((resolve) => {
            if (still.size >= count) resolve()
            else waiting.add({ count, resolve })
          }),
        release() {
          if (trap === mine) trap = null
          for (const connection of still) connection.release()
          still.clear()
        },
      }
    },
    cut() {
      isCut = true
      for (const connection of connections) connection.destroy()
    },
    restore() {
      isCut = false
    },
    async close() {
      for (const connection of connections) connection.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

function relay(
  client: Socket,
  { store, trap, closed }: { store: Socket; trap: () => Trap | null; closed: () => void },
): Connection {
  const prepared = new Map<string, string>()
  let before: string[] = []
  let unread: Buffer = Buffer.alloc(0)
  let isIntroduced = false
  /** Not null while the connection stands still: what was not passed on. */
  let heldForStore: Buffer[] | null = null
  let heldForClient: Buffer[] | null = null
  /** Whoever waits for the answer to a statement to have come in. */
  let onAnswer: (() => void) | null = null

  const connection: Connection = {
    destroy() {
      client.destroy()
      store.destroy()
    },
    release() {
      const [toStore, toClient] = [heldForStore, heldForClient]
      heldForStore = null
      heldForClient = null
      for (const chunk of toStore ?? []) store.write(chunk)
      for (const chunk of toClient ?? []) client.write(chunk)
    },
  }

  function pass(message: Buffer): void {
    if (heldForStore) {
      heldForStore.push(message)
      return
    }
    const statement = isIntroduced ? read(message) : null
    isIntroduced = true
    if (statement) {
      const armed = trap()
      before = /^BEGIN/.test(statement.sql) ? [statement.sql] : [...before.slice(-20), statement.sql]
      if (armed?.isMeant(statement) && stop(armed, message)) return
    }
    store.write(message)
  }

  /** Whether the message is kept from the store. */
  function stop(armed: Trap, message: Buffer): boolean {
    if (armed.side === 'statement') {
      heldForStore = [message]
      armed.hit(connection)
      return true
    }
    heldForClient ??= []
    onAnswer = () => armed.hit(connection)
    return false
  }

  /** A statement comes as a simple query, or is named (or nameless) by Parse and then sent on its way by Bind. */
  function read(message: Buffer): Statement | null {
    const type = String.fromCharCode(message[0] ?? 0)
    const bytes = message.toString('latin1', 5)
    const [first = '', second = ''] = bytes.split('\0', 2)
    if (type === 'P') prepared.set(first, second)
    if (type === 'Q') return { sql: first, bytes, before }
    return type === 'B' ? { sql: prepared.get(second) ?? '', bytes, before } : null
  }

  client.on('data', (chunk) => {
    unread = Buffer.concat([unread, chunk])
    for (;;) {
      // The first message of a connection has no type before its length.
      const start = isIntroduced ? 1 : 0
      if (unread.length < start + 4) return
      const end = start + unread.readInt32BE(start)
      if (unread.length < end) return
      pass(unread.subarray(0, end))
      unread = unread.subarray(end)
    }
  })
  store.on('data', (chunk) => {
    if (!heldForClient) {
      client.write(chunk)
      return
    }
    heldForClient.push(chunk)
    onAnswer?.()
    onAnswer = null
  })
  for (const [one, other] of [
    [client, store],
    [store, client],
  ] as const) {
    // Else every statement would wait for an acknowledgement of the one before.
    one.setNoDelay(true)
    one.on('error', () => undefined)
    one.on('close', () => {
      other.destroy()
      closed()
    })
  }
  return connection
}
