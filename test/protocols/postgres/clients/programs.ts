import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect } from 'vitest'
import type { World } from '../world.ts'

/** Programs that say much take their time on a machine that has other things to do. */
export const PATIENT = { timeout: 90_000 }

/** Whether a test is skipped that needs what is not there: never where nothing may be. */
export function lacks(what: unknown): boolean {
  return !what && process.env['COUNTERSIGN_TEST_NO_SKIP'] !== '1'
}

export function isThere(program: string): boolean {
  return spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0
}

export interface RunOptions {
  readonly input?: string
  readonly cwd?: string
  readonly env?: Readonly<Record<string, string>>
}

/** Runs a program: all that it prints, and with what it ends. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { input = '', cwd, env = {} } = options
  const child = spawn(program, args, {
    cwd,
    // Nothing of this machine's own: a .psqlrc, a password file, PGHOST.
    env: { PATH: process.env['PATH'], HOME: '/nonexistent', LC_ALL: 'C.UTF-8', ...env },
    timeout: PATIENT.timeout / 2,
  })
  const ended = once(child, 'close')
  // One that ends early does not read all of it.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const [out, err, [code, signal]] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  return `${out}${err}ended with ${code ?? signal}\n`
}

/** Runs a program of which nothing but success is expected. */
export async function succeed(program: string, args: readonly string[], options: RunOptions = {}): Promise<void> {
  const said = await run(program, args, options)
  expect(said.endsWith('ended with 0\n'), said).toBe(true)
}

/** As every libpq takes it, however old: some parameters of node-postgres are newer. */
export function plain(url: string, database?: string): string {
  const changed = new URL(url)
  changed.search = ''
  if (database !== undefined) changed.pathname = `/${database}`
  return changed.href
}

/** Does the same without the gateway and through it, which must come to the same; returns what it came to. */
export async function same<Result>(world: World, client: (url: string) => Promise<Result>): Promise<Result> {
  const direct = await client(plain(world.adminUrl))
  expect(await client(plain(world.url()))).toEqual(direct)
  return direct
}

/** Verb and resource of everything that was judged. */
export function acts(world: World): Set<string> {
  return new Set(
    world.calls.flatMap(({ actions }) => (actions ?? []).map(({ verb, resource }) => `${verb} ${resource}`)),
  )
}
