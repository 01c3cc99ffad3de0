import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/** Below what systems hand out by themselves, so that nobody is given one between now and its use. */
const RANGE = [20_000, 30_000] as const
const MAX_ATTEMPTS = 100

/** Ports on loopback that are free now: the preferred one of each name, or else one at random. */
export async function findFreePorts<Name extends string>(
  preferred: Readonly<Record<Name, number | null>>,
): Promise<Record<Name, number>> {
  const found = new Map<string, number>()
  for (const [name, wish] of Object.entries<number | null>(preferred)) {
    found.set(name, await findFree(wish, new Set(found.values())))
  }
  // Every name was gone through.
  return Object.fromEntries(found) as Record<Name, number>
}

async function findFree(wish: number | null, taken: ReadonlySet<number>): Promise<number> {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const port = attempt === 0 && wish !== null ? wish : randomInt(...RANGE)
    if (!taken.has(port) && (await isFree(port))) return port
  }
  throw new Error('there is no free port on this machine')
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
