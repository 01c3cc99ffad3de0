import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { findFreePorts } from '../../src/demo/ports.ts'
import { startReviewer } from '../../src/demo/reviewer.ts'
import { isErrno } from '../../src/platform/files.ts'
import { createEmptyDatabase, type TestDatabase } from '../postgres.ts'
import { argvOf, mountsOf, ROOT, type Service, serviceNamed, valuesOf } from './compose.ts'
import { type Running, start } from './process.ts'

/*
 * docker-compose.yml without Docker: each service is a process with the program, the packages, the arguments, the files
 * and the secrets that its container would have. Only paths, ports and the database’s address differ.
 */

let host: string
let store: TestDatabase
let ports: Record<'8080' | '8081' | '8082' | '8083', number>
const running: Running[] = []

beforeAll(async () => {
  host = await mkdtemp(join(tmpdir(), 'countersign-compose-'))
  store = await createEmptyDatabase()
  ports = await findFreePorts({ 8080: null, 8081: null, 8082: null, 8083: null })
  for (const stage of ['gateway', 'demo']) await build(stage)
})
afterAll(async () => {
  for (const each of running) await each.end()
  await store.close()
  await rm(host, { recursive: true, force: true })
})

it('plays the demo’s story, from its secrets to a call that a reviewer approved', { timeout: 60_000 }, async () => {
  const secrets = await run('secrets')
  expect(await secrets.exit(), secrets.output()).toBe(0)
  const migrate = await run('migrate')
  expect(await migrate.exit(), migrate.output()).toBe(0)

  // In this order, as Compose has it: those that share the gateway's network start after it.
  for (const name of ['gateway', 'identity-provider', 'billing']) await run(name)
  await isServed(`http://127.0.0.1:${ports[8080]}/readyz`)
  const issuer = `http://127.0.0.1:${ports[8082]}`
  await isServed(`${issuer}/.well-known/openid-configuration`)
  await isServed(`http://127.0.0.1:${ports[8083]}/.arrivals`)

  const agent = await run('agent')
  const controlUrl = `http://127.0.0.1:${ports[8081]}`
  const finn = await startReviewer('finn', { issuer, controlUrl, signal: AbortSignal.timeout(30_000) })
  for (const decision of ['approve', 'deny'] as const) {
    const asked = new RegExp(
      `docker compose run --rm countersign approvals ${decision} ([0-9A-Z]+) --url ${controlUrl} `,
    )
    const [, approval = ''] = await agent.says(asked)
    expect(await finn.vote(decision, approval, 'Because this test says so.')).toBeNull()
  }
  expect(await agent.exit(), agent.output()).toBe(0)
  expect(agent.output()).toContain('It arrived once, after the approval')
  expect(agent.output()).toContain('Because this test says so.')
})

it('has a command line without the packages that the image leaves out', async () => {
  const help = await run('countersign', ['--help'])
  expect(await help.exit(), help.output()).toBe(0)
  expect(help.output()).toContain('An identity-aware gateway')
})

it('makes its secrets once', async () => {
  const again = await run('secrets')
  expect(await again.exit()).toBe(0)
  expect(again.output()).toContain('has its secrets already')
})

it('leaves the secrets of one service out of the others', async () => {
  const gateway = await readFile(join(host, 'volumes/gateway-secrets/upstream_token'), 'utf8')
  expect(gateway).toBe(await readFile(join(host, 'volumes/billing-secrets/upstream_token'), 'utf8'))
  expect(gateway).not.toBe(await readFile(join(host, 'volumes/agent-secrets/agent_secret'), 'utf8'))
})

async function run(name: string, command?: string[]): Promise<Running> {
  const service = { ...serviceNamed(name), ...(command && { command }) }
  const root = join(host, 'containers', name)
  await mount(service, root)
  const [program, file = '', ...args] = argvOf(service)
  expect(program).toBe('node')
  const image = imageOf(service.build?.target ?? '')
  const started = start(process.execPath, [join(image, file), ...args.map((text) => inside(text, root))], image)
  running.push(started)
  return started
}

function imageOf(stage: string): string {
  return join(host, 'images', stage)
}

/** What a stage copies, and the packages that its `npm ci` would install, by the lock. */
async function build(stage: string): Promise<void> {
  const image = imageOf(stage)
  await mkdir(image, { recursive: true })
  const copies = valuesOf(stage, 'COPY').filter((value) => !value.startsWith('--from='))
  for (const source of copies.flatMap((value) => value.split(' ').slice(0, -1))) {
    await cp(join(ROOT, source), join(image, source), { recursive: true })
  }
  const command = [stage, 'dependencies']
    .flatMap((name) => valuesOf(name, 'RUN'))
    .find((text) => text.startsWith('npm'))
  const omitted = [...(command ?? '').matchAll(/--omit=(\w+)/g)].map(([, kind]) => kind)
  const { packages } = lockSchema.parse(JSON.parse(await readFile(join(ROOT, 'package-lock.json'), 'utf8')))
  for (const [path, { dev, optional, devOptional }] of Object.entries(packages)) {
    const [isDevOmitted, isOptionalOmitted] = [omitted.includes('dev'), omitted.includes('optional')]
    const isOmitted = devOptional
      ? isDevOmitted && isOptionalOmitted
      : (dev && isDevOmitted) || (optional && isOptionalOmitted)
    if (!/^node_modules\/(@[^/]+\/)?[^/]+$/.test(path) || isOmitted) continue
    await mkdir(dirname(join(image, path)), { recursive: true })
    await symlink(join(ROOT, path), join(image, path))
  }
}

const flag = z.boolean().default(false)
const lockSchema = z.object({
  packages: z.record(z.string(), z.object({ dev: flag, optional: flag, devOptional: flag })),
})

/** Gives a service a root of its own: in it volumes, which others have too, and copies of files of the checkout. */
async function mount(service: Service, root: string): Promise<void> {
  for (const { source, target } of mountsOf(service)) {
    const path = join(root, target)
    await mkdir(dirname(path), { recursive: true })
    if (source.startsWith('./')) await writeFile(path, inside(await readFile(join(ROOT, source), 'utf8'), root))
    else {
      const volume = join(host, 'volumes', source)
      await mkdir(volume, { recursive: true })
      await symlink(volume, path).catch((error: unknown) => isErrno(error, 'EEXIST') || Promise.reject(error))
    }
  }
}

/** A text of a container's, with the paths, ports and the database of this machine. */
function inside(text: string, root: string): string {
  return text
    .replace(/postgres:\/\/countersign_login:.*/, store.url)
    .replace(/postgres:\/\/postgres:.*/, store.adminUrl)
    .replace(/:(8080|8081|8082|8083)\b/g, (_whole, port: keyof typeof ports) => `:${ports[port]}`)
    .replace(/0\.0\.0\.0/g, '127.0.0.1')
    .replace(/(?<=^|[=: ])\/(etc|run|secrets|var)\//gm, (path) => `${root}${path}`)
    .replace(/^\/secrets$/, `${root}/secrets`)
}

async function isServed(url: string): Promise<void> {
  await expect.poll(async () => (await fetch(url).catch(() => null))?.status, { timeout: 20_000 }).toBe(200)
}
