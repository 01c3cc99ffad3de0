import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }

const bin = packageJson.bin.countersign
const scripts = fileURLToPath(new URL('../../scripts', import.meta.url))
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'countersign-node-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** A copy of the command, with a program of its own in place of the gateway, and the Node that `npm ci` brings or not. */
async function install(name: string, { program, withNode }: { program: string; withNode: boolean }): Promise<string> {
  const root = join(folder, name)
  for (const path of ['src', 'scripts']) await mkdir(join(root, path), { recursive: true })
  for (const file of ['countersign.cjs', 'require-node.cjs']) {
    await copyFile(join(scripts, file), join(root, 'scripts', file))
  }
  await writeFile(join(root, 'package.json'), '{ "type": "module" }')
  await writeFile(join(root, 'src', 'main.ts'), program)
  if (withNode) {
    const brought = join(root, 'node_modules', `node-${process.platform}-${process.arch}`)
    await mkdir(join(brought, 'bin'), { recursive: true })
    await writeFile(join(brought, 'package.json'), '{}')
    await symlink(process.execPath, join(brought, 'bin', 'node'))
  }
  return join(root, bin)
}

/** What makes Node say that it is of this version. */
async function disguiseAs(version: string): Promise<string[]> {
  const disguise = join(folder, `as-${version}.cjs`)
  const versions = JSON.stringify({ ...process.versions, node: version })
  const facts = `{ versions: { value: ${versions} }, version: { value: 'v${version}' } }`
  await writeFile(disguise, `Object.defineProperties(process, ${facts})`)
  return ['--require', disguise]
}

async function run(version: string, [file, ...args]: readonly [string, ...string[]]) {
  try {
    const all = [...(await disguiseAs(version)), file, ...args]
    const { stdout, stderr } = await promisify(execFile)(process.execPath, all)
    return { code: 0, out: stdout, err: stderr }
  } catch (error) {
    // execFile rejects with what the process said and its exit code.
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, out: stdout, err: stderr }
  }
}

const SAYS_WHO: string = `
console.log(process.versions.node.split('.')[0], ...process.argv.slice(2))
process.exitCode = 7
`

describe('the command, started by an old Node', () => {
  it('runs on the Node that was brought along, with its arguments, and ends with its exit code', async () => {
    const file = await install('brought', { program: SAYS_WHO, withNode: true })
    const major = process.versions.node.split('.')[0]
    const ran = await run('20.20.2', [file, 'serve', '--config', 'a b.yaml'])
    expect(ran).toEqual({ code: 7, out: `${major} serve --config a b.yaml\n`, err: '' })
  })

  it('says in one line that it is too old if no other was brought along', async () => {
    const file = await install('alone', { program: SAYS_WHO, withNode: false })
    const old = await run('20.20.2', [file])
    expect([old.code, old.out]).toEqual([1, ''])
    expect(old.err).toMatch(/^Countersign runs on Node 24; this is v20\.20\.2\. .*\n$/)
  })

  it('says so too if the one that was brought along does not run here', async () => {
    const file = await install('foreign', { program: SAYS_WHO, withNode: false })
    const brought = join(dirname(dirname(file)), 'node_modules', `node-${process.platform}-${process.arch}`)
    await mkdir(join(brought, 'bin'), { recursive: true })
    await writeFile(join(brought, 'package.json'), '{}')
    await writeFile(join(brought, 'bin', 'node'), '#!/lib/no-such-loader\n', { mode: 0o755 })
    const old = await run('20.20.2', [file])
    expect(old).toMatchObject({ code: 1, out: '', err: expect.stringMatching(/^Countersign runs on Node 24; .*\n$/) })
  })

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
    'passes %s on, and ends when and as the gateway does',
    async (signal) => {
      const program = `
      process.on('${signal}', () => { console.log('got ${signal}'); clearInterval(alive); process.exitCode = 3 })
      const alive = setInterval(() => {}, 1000)
      console.log('ready')
    `
      const file = await install(signal, { program, withNode: true })
      const child = spawn(process.execPath, [...(await disguiseAs('20.20.2')), file], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const ended = once(child, 'exit')
      const said: string[] = []
      for await (const chunk of child.stdout.setEncoding('utf8')) {
        said.push(chunk)
        if (chunk.includes('ready')) child.kill(signal)
      }
      expect(said.join('')).toBe(`ready\ngot ${signal}\n`)
      expect(await ended).toEqual([3, null])
    },
  )

  it('ends by the signal that ended the gateway', async () => {
    const file = await install('killed', { program: "process.kill(process.pid, 'SIGKILL')", withNode: true })
    const child = spawn(process.execPath, [...(await disguiseAs('20.20.2')), file], { stdio: 'ignore' })
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL'])
  })
})

it('the command runs itself on the Node it is made for', async () => {
  const ran = await run('24.21.0', [join(scripts, '..', bin), '--help'])
  expect(ran).toMatchObject({ code: 0, err: '', out: expect.stringContaining('serve') })
})
