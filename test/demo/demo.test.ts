import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { isAlive } from '../../src/platform/lock.ts'

const ROOT = new URL('../../', import.meta.url).pathname

let data: string
beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'countersign-demo-test-'))
})
afterAll(() => rm(data, { recursive: true, force: true }))

it('plays every step by itself through the real command, and ends everything it started', async () => {
  const { code, output } = await runToEnd(spawn('npm', ['run', '-s', 'demo', '--', '--auto', '--data', data], HOW))
  expect(code, output).toBe(0)
  const told = output.replace(/\s+/g, ' ')
  for (const step of [
    'upstream 200: Ada Lovelace, balance 1200',
    'gateway 403 denied: “Not executed. Refunds are cancelled, never deleted.',
    'gateway self_approval: “Not counted.',
    'Finn from finance signs in, looks at the card, and decides: approve.',
    'It arrived once, after the approval: the balance is 1650 now.',
    'The reviewer said: This order was refunded already.',
    'intact: ',
    'altered: its hash does not follow from its body',
    'Every step did what it should.',
  ]) {
    expect(told).toContain(step)
  }
  for (const noise of ['\u001b', 'WARNING', 'NOTICE']) expect(output).not.toContain(noise)
  expect(await startedProcesses()).toEqual([])
})

it('keeps what it writes to its owner', async () => {
  for (const name of ['agent-secret', 'upstream-token', 'countersign.yaml', 'gateway.log', 'identity-provider.log']) {
    expect((await stat(join(data, name))).mode & 0o077, name).toBe(0)
  }
  expect((await stat(data)).mode & 0o066).toBe(0)
})

it('waits for a person on the data of the run before, and ends its children when it is interrupted', async () => {
  const child = spawn(process.execPath, ['src/demo/main.ts', '--data', data], HOW)
  const ended = runToEnd(child)
  for await (const text of child.stdout.setEncoding('utf8')) if (String(text).includes('Ctrl-C')) break
  expect((await startedProcesses()).length).toBeGreaterThan(0)
  child.kill('SIGINT')
  const { code } = await ended
  expect(code).toBe(130)
  expect(await startedProcesses()).toEqual([])
})

it.each([
  [['--atuo'], /Unknown option '--atuo'/],
  [['identity-provder'], /not understood: identity-provder/],
  [['upstream', '--listen', '8083'], /--listen 8083 is not host:port/],
])('refuses %j with one line', async (args, message) => {
  const { code, output } = await runToEnd(spawn(process.execPath, ['src/demo/main.ts', ...args], HOW))
  expect(code).toBe(2)
  expect(output).toMatch(message)
})

const HOW = { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] as ['ignore', 'pipe', 'pipe'] }

async function runToEnd(child: ChildProcess): Promise<{ code: number | null; output: string }> {
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (text: Buffer) => (output += text.toString()))
  const [code] = await once(child, 'close')
  return { code, output }
}

/** Those of the demo's children that still run: the gateway, and its Postgres. */
async function startedProcesses(): Promise<readonly number[]> {
  const store = join(data, 'store')
  const gateway = Number(await readFile(join(data, 'gateway.pid'), 'utf8'))
  const pids = [gateway]
  for (const name of await readdir(store)) {
    const pid = await readFile(join(store, name, 'postmaster.pid'), 'utf8').catch(() => null)
    if (pid !== null) pids.push(Number(pid.split('\n')[0]))
  }
  return pids.filter(isAlive)
}
