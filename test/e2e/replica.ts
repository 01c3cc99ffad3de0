import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
const NPM = ['npm', 'run', '-s', 'countersign', '--'] as const
const MOST_LINES = 2000

export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A gateway in a process of its own. */
export interface Replica {
  readonly configFile: string
  readonly dataDir: string
  /** Where it serves agents, and people. */
  readonly url: string
  readonly control: string
  /** Where it serves the upstreams that have a listener of their own, as host:port. */
  readonly upstreams: Readonly<Record<string, string>>
  /** What it logged, parsed. */
  readonly log: readonly LogLine[]
  signal(signal: NodeJS.Signals): void
  /** Ends it as a crash of the machine's kernel would: nothing of it runs any more. Resolves when it is gone. */
  kill(): Promise<Ended>
  /** SIGTERM; resolves when it is gone. */
  stop(): Promise<Ended>
  readonly ended: Promise<Ended>
  /** Resolves with the first line, past or to come, that says so, with these fields. */
  logged(message: string, fields?: LogLine): Promise<LogLine>
}

/** Nothing of the environment that a gateway reads. */
const KEPT = { NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] }

export type LogLine = Readonly<Record<string, unknown>>

/**
 * Starts one and waits until it serves. Throws an error that holds what it said if it ends instead. With `isByNpm` the
 * process that gets the signals is npm's, as when somebody follows the README.
 */
export async function startReplica(
  at: { configFile: string; dataDir: string },
  { isByNpm = false }: { isByNpm?: boolean } = {},
): Promise<Replica> {
  const [command, ...argv] = isByNpm ? NPM : [process.execPath, MAIN]
  const child = spawn(command, [...argv, 'serve', '--config', at.configFile], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: ROOT,
    env: isByNpm ? { ...KEPT, PATH: process.env['PATH'], HOME: process.env['HOME'] } : KEPT,
    // A group of its own: what npm started may outlive npm.
    detached: isByNpm,
  })
  const log: LogLine[] = []
  const hearers = new Set<(line: LogLine) => void>()
  const errors: string[] = []
  const ended = endOf(child)
  createInterface({ input: child.stderr }).on('line', (line) => errors.push(line))
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = parseLine(text)
    if (log.length < MOST_LINES) log.push(line)
    for (const hear of hearers) hear(line)
  })

  async function logged(message: string, fields: LogLine = {}): Promise<LogLine> {
    const { promise, resolve, reject } = Promise.withResolvers<LogLine>()
    const sought = Object.entries({ ...fields, msg: message })
    const hear = (line: LogLine) => sought.every(([name, value]) => line[name] === value) && resolve(line)
    hearers.add(hear)
    for (const line of log) hear(line)
    void ended.then(({ code, signal }) => {
      const said = [...errors, ...log.map((line) => JSON.stringify(line))].slice(-20).join('\n')
      reject(new Error(`it ended (${code ?? signal}) without saying "${message}":\n${said}`))
    })
    return promise.finally(() => hearers.delete(hear))
  }

  const { gateway, control, upstreams } = await logged('countersign is serving')
  return {
    ...at,
    url: String(gateway),
    control: String(control),
    // As the gateway's own log has them.
    upstreams: (upstreams ?? {}) as Record<string, string>,
    log,
    signal: (signal) => void child.kill(signal),
    kill() {
      child.kill('SIGKILL')
      if (isByNpm) killGroup(child)
      return ended
    },
    stop() {
      child.kill('SIGTERM')
      return ended
    },
    ended,
    logged,
  }
}

/** Runs a command line to its end. */
export async function countersign(
  ...argv: readonly string[]
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [MAIN, ...argv], { stdio: ['ignore', 'pipe', 'pipe'], env: KEPT })
  let out = ''
  let err = ''
  child.stdout.setEncoding('utf8').on('data', (text) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text) => (err += text))
  const { code } = await endOf(child)
  return { code, out, err }
}

function killGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // Nothing of it is left.
  }
}

async function endOf(child: ChildProcess): Promise<Ended> {
  const [code, signal] = await once(child, 'close')
  return { code, signal }
}

function parseLine(text: string): LogLine {
  try {
    return JSON.parse(text)
  } catch {
    return { msg: text }
  }
}
