import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { GatewayError } from '../domain/error.ts'
import { assertPrivate, readFileIfAny, writeFileAtomically } from '../platform/files.ts'

/** What `login` keeps for one control listener: a token that lists and shows, and that no vote is accepted from. */
export interface Session {
  readonly url: string
  readonly token: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

export interface Sessions {
  /** Those that have not expired. */
  all(): Promise<readonly Session[]>
  find(url: string): Promise<Session | null>
  save(session: Session): Promise<void>
  /** Also what has expired; of every control listener if none is named. Returns those that were there. */
  remove(url: string | null): Promise<readonly string[]>
}

const MAX_SESSIONS = 20

const file = z.object({
  sessions: z.array(z.object({ url: z.string(), token: z.string(), expiresAt: z.number() })),
})

/** Sessions in one file that only its owner may open. Throws GatewayError `config` if others may, or it is damaged. */
export function openSessions(folder: string, now: () => number): Sessions {
  const path = join(folder, 'sessions.json')

  async function readAll(): Promise<readonly Session[]> {
    const text = await readFileIfAny(path)
    if (text === null) return []
    await assertPrivate(path)
    return parse(text, path)
  }

  async function read(): Promise<readonly Session[]> {
    return (await readAll()).filter(({ expiresAt }) => expiresAt > now())
  }

  async function write(sessions: readonly Session[]): Promise<void> {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeFileAtomically(path, `${JSON.stringify({ sessions }, null, 2)}\n`, 0o600)
  }

  return {
    all: read,
    find: async (url) => (await read()).find((session) => session.url === url) ?? null,
    async save(session) {
      const others = (await read()).filter(({ url }) => url !== session.url)
      await write([session, ...others].slice(0, MAX_SESSIONS))
    },
    async remove(url) {
      const [gone, kept] = split(await readAll(), (session) => url === null || session.url === url)
      if (gone.length > 0) await write(kept)
      return gone.map((session) => session.url)
    },
  }
}

function split<T>(all: readonly T[], isFirst: (one: T) => boolean): readonly [T[], T[]] {
  return [all.filter(isFirst), all.filter((one) => !isFirst(one))]
}

function parse(text: string, path: string): readonly Session[] {
  try {
    return file.parse(JSON.parse(text)).sessions
  } catch (error) {
    throw new GatewayError('config', `${path} is damaged: remove it and sign in again`, { cause: error })
  }
}
