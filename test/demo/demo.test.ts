import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { shownSchema } from '../../src/control/wire.ts'
import { startBrowser } from '../../src/demo/browser.ts'
import { signIn } from '../../src/demo/sign-in.ts'
import { isAlive } from '../../src/platform/lock.ts'
import { type Running, start } from './process.ts'

// Some ten seconds on a machine that is not busy.
const SLOW = { timeout: 60_000 }
const ROOT = new URL('../../', import.meta.url).pathname

let data: string
const running: Running[] = []
beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'countersign-demo-test-'))
})
afterAll(async () => {
  for (const each of running) await each.end()
  await rm(data, { recursive: true, force: true })
})

it('plays every step by itself through the real command, and ends everything it started', SLOW, async () => {
  const demo = run('npm', ['run', '-s', 'demo', '--', '--auto', '--data', data])
  expect(await demo.exit(), demo.output()).toBe(0)
  const output = demo.output()
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

it('waits for a person who does what it says, and ends its children when it is interrupted', SLOW, async () => {
  const demo = run(process.execPath, ['src/demo/main.ts', '--data', data])
  const [, approval = '', controlUrl = '', reason = ''] = await demo.says(
    /npm run -s countersign -- approvals approve (\w+) --url (\S+) --reason "(.*)"/,
  )
  const [, issuer = ''] = await demo.says(/sign in at\s+(http:\S+)\./)
  await approveAsTold({ approval, controlUrl, reason, issuer })
  await demo.says(/It arrived once, after the approval/)
  await demo.says(/approvals deny/)

  expect((await startedProcesses()).length).toBeGreaterThan(0)
  demo.child.kill('SIGINT')
  expect(await demo.exit()).toBe(130)
  expect(await startedProcesses()).toEqual([])
})

it.each([
  [['--atuo'], /Unknown option '--atuo'/],
  [['identity-provder'], /not understood: identity-provder/],
  [['upstream', '--listen', '8083'], /--listen 8083 is not host:port/],
])('refuses %j with one line', async (args, message) => {
  const demo = run(process.execPath, ['src/demo/main.ts', ...args])
  expect(await demo.exit()).toBe(2)
  expect(demo.output()).toMatch(message)
})

function run(program: string, args: readonly string[]): Running {
  const started = start(program, args, ROOT)
  running.push(started)
  return started
}

/** Types what the demo says, and finishes the sign-in in a browser. Without a terminal the card seen is named instead. */
async function approveAsTold(what: {
  approval: string
  controlUrl: string
  reason: string
  issuer: string
}): Promise<void> {
  const { approval, controlUrl, reason, issuer } = what
  const signal = AbortSignal.timeout(20_000)
  const token = await signIn('finn', { issuer, controlUrl, signal })
  const headers = { authorization: `Bearer ${token}` }
  const shown = await (await fetch(`${controlUrl}/v1/approvals/${approval}`, { headers, signal })).json()
  const hash = shownSchema.parse(shown).approval.card_hash
  const args = ['approvals', 'approve', approval, '--url', controlUrl, '--reason', reason, '--card-hash', hash]
  const command = run('npm', ['run', '-s', 'countersign', '--', ...args])
  const [, page = ''] = await command.says(/^or open (\S+)$/m)
  const browser = startBrowser(signal)
  const confirmation = await browser.submit(await browser.open(page))
  await browser.submit(await browser.submit(confirmation), 'as=finn"')
  expect(await command.exit(), command.output()).toBe(0)
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
