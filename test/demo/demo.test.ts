import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { signIn } from '../../src/demo/sign-in.ts'
import { type Running, start, startedProcesses } from './process.ts'

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
  expect(await startedProcesses(data)).toEqual([])
})

it('keeps what it writes to its owner', async () => {
  for (const name of ['agent-secret', 'upstream-token', 'countersign.yaml', 'gateway.log', 'identity-provider.log']) {
    expect((await stat(join(data, name))).mode & 0o077, name).toBe(0)
  }
  expect((await stat(data)).mode & 0o066).toBe(0)
})

it('waits for a person who does what it says, and ends its children when it is interrupted', SLOW, async () => {
  const demo = run(process.execPath, ['src/demo/main.ts', '--data', data])
  const [, directory = '', typed = ''] = await demo.says(/^ +cd (.*)\n +(npm run -s demo -- approve .*)$/m)
  expect(directory).toBe(ROOT.replace(/\/$/, ''))
  const olivia = run('sh', ['-c', `${typed} --as olivia`])
  expect([await olivia.exit(), olivia.output()]).toEqual([1, expect.stringContaining('self_approval')])
  const finn = run('sh', ['-c', typed])
  expect([await finn.exit(), finn.output()]).toEqual([0, expect.stringContaining('Finn from finance: approved')])
  await demo.says(/It arrived once, after the approval/)
  await demo.says(/demo -- deny/)

  expect((await startedProcesses(data)).length).toBeGreaterThan(0)
  demo.child.kill('SIGINT')
  expect(await demo.exit()).toBe(130)
  expect(await startedProcesses(data)).toEqual([])
})

it('clears away what an earlier run left: a call that waits, and an agent that somebody stopped', SLOW, async () => {
  const demo = run(process.execPath, ['src/demo/main.ts', '--data', data])
  const [, controlUrl = ''] = await demo.says(/people decide at (\S+),/)
  const [, issuer = ''] = await demo.says(/sign in at\s+(http:\S+)\./)
  const [, first] = await demo.says(/-- approve (\w+) /)
  expect(demo.output()).toContain('Calls that an earlier run had left waiting were denied.')
  const signal = AbortSignal.timeout(20_000)
  const token = await signIn('finn', { issuer, controlUrl, signal })
  const listed = await fetch(`${controlUrl}/v1/approvals`, { headers: { authorization: `Bearer ${token}` }, signal })
  expect(await listed.json()).toMatchObject({ approvals: [{ id: first }] })
  const stopped = await fetch(`${controlUrl}/v1/agents/suspend`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ issuer, subject: 'support-agent', reason: 'It is only a test.' }),
    signal,
  })
  expect(stopped.status).toBe(200)
  await demo.says(/Otto, who operates the gateway, lets it go on/)
  await demo.says(/demo -- deny/)
  demo.child.kill('SIGINT')
  expect(await demo.exit()).toBe(130)
})

it.each([
  [['--atuo'], /Unknown option '--atuo'/],
  [['identity-provder'], /not understood: identity-provder/],
  [['upstream', '--listen', '8083'], /--listen 8083 is not host:port/],
  [['approve', '7Q3F000000', '--as', 'mallory'], /there is no mallory: finn, olivia/],
  [['approve'], /not understood: approve/],
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
