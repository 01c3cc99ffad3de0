import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Replica } from '../e2e/replica.ts'
import { problemOf, startWorld, type World } from '../e2e/world.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { blocks, quoted, ROOT, readPage, tableUnder } from './pages.ts'

const page = readPage('docs/http.md')

interface Verifier {
  verifyAssertion(request: Pick<IncomingMessage, 'headers' | 'method' | 'url'>, body: Buffer): Promise<object>
}

const POLICY = `
name: billing
rules:
  - { name: notes, verbs: [GET, PUT], effect: allow }
  - { name: refunds, verbs: [POST], effect: hold, approval: { reviewers: ["group:finance"] } }
`

let store: TestDatabase
let world: World
let replica: Replica
let upstream: Server
let folder: string
let verifier: Verifier
/** What the upstream got, with what the example of the page made of it. */
const received: { request: Pick<IncomingMessage, 'headers' | 'method' | 'url'>; body: Buffer; claims: object }[] = []

beforeAll(async () => {
  store = await createTestDatabase()
  world = await startWorld(store)
  await world.writePolicy(POLICY)
  folder = await mkdtemp(join(tmpdir(), 'countersign-docs-'))
  upstream = createServer((incoming, response) => {
    void readAll(incoming).then(async (body) => {
      const { headers, method, url } = incoming
      const made = { headers, method, url } as const
      received.push({ request: made, body, claims: await verifier.verifyAssertion(made, body) })
      response.end('{}')
    })
  })
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  const { port } = upstream.address() as AddressInfo // it listens on TCP
  const billing = { name: 'billing', protocol: 'http', url: `http://127.0.0.1:${port}/base` }
  replica = await world.start({ config: { upstreams: [billing] } })
  verifier = await loadExample()
})
afterAll(async () => {
  await world[Symbol.asyncDispose]()
  await store.close()
  upstream.closeAllConnections()
  await new Promise((resolve) => upstream.close(resolve))
  await rm(folder, { recursive: true })
})

/** The example as a module; its gateway is known by a public name, and here reached where it listens. */
async function loadExample(): Promise<Verifier> {
  const text = (blocks(page, 'js')[0] ?? '').replace('`${GATEWAY}/.well-known', `\`${replica.url}/.well-known`)
  await symlink(fileURLToPath(new URL('node_modules', ROOT)), join(folder, 'node_modules'))
  const file = join(folder, 'verify.mjs')
  await writeFile(file, text)
  return import(pathToFileURL(file).href)
}

async function readAll(incoming: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Sends a request target as it is written. */
async function get(target: string): Promise<{ status: number; text: string }> {
  const { hostname, port } = new URL(replica.url)
  const headers = { authorization: `Bearer ${await world.agentToken()}` }
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path: target, headers }, (response) => {
      readAll(response as IncomingMessage).then(
        (body) => resolve({ status: response.statusCode ?? 0, text: body.toString('utf8') }),
        reject,
      )
    })
    sent.on('error', reject).end()
  })
}

/** "400 `malformed`: why" */
function promised(cell: string) {
  const [, status, code = '', detail = ''] = /^(\d+) `(\w+)`: (.+)$/.exec(cell) ?? []
  return { status: Number(status), code, detail }
}

describe('what is refused', () => {
  const section = page.slice(page.indexOf('## What is refused'))
  const bodies = section.slice(section.indexOf('| JSON |'))

  it.each(tableUnder(page, 'What is refused, and why'))('is refused as it says: %s', async (example, answer = '') => {
    const { status, code, detail } = promised(answer)
    const got = await get(quoted(example ?? '')[0] ?? '')
    expect(got.status).toBe(status)
    const problem = JSON.parse(got.text)
    expect(problem).toMatchObject({ code, detail: expect.stringContaining(detail) })
  })

  it.each(tableUnder(`## Bodies\n\n${bodies}`, 'Bodies'))('is refused in a body: %s', async (example, answer = '') => {
    const { status, code, detail } = promised(answer)
    const response = await world.call(replica, '/refunds', { body: quoted(example ?? '')[0] ?? '' })
    expect(response.status).toBe(status)
    expect(await response.json()).toMatchObject({ code, detail: expect.stringContaining(detail) })
  })
})

describe('a held call', () => {
  it('has a status as it is shown', async () => {
    const held = await problemOf(await world.call(replica, '/refunds', { headers: { prefer: 'wait=0' } }))
    const path = new URL(held.status_url ?? '').pathname
    const response = await fetch(`${replica.url}${path}`, {
      headers: { authorization: `Bearer ${await world.agentToken()}` },
    })
    const shown = JSON.parse(blocks(page, 'json')[0] ?? '')
    expect(Object.keys((await response.json()) as object)).toEqual(Object.keys(shown))
  })

  it('is asked about as it is shown, and its repetition replies as it is shown', async () => {
    const section = page.slice(page.indexOf('### When a reviewer asks'))
    const shown = JSON.parse(blocks(section, 'json')[0] ?? '')
    const [, example = '', words = ''] = /-H "Countersign-Reply: (\w+) ([^"]+)"/.exec(section) ?? []
    expect(example).toBe(shown.question.id)
    const waiting = world.call(replica, '/refunds/asked')
    const id = await world.approvalOf('/refunds/asked')
    const headers = { authorization: `Bearer ${await world.personToken('finn')}`, 'content-type': 'application/json' }
    const question = shown.question.text
    const init = { method: 'POST', headers, body: JSON.stringify({ question }) }
    expect((await fetch(`${replica.control}/v1/approvals/${id}/ask`, init)).status).toBe(200)

    const told = await waiting
    expect([told.status, told.headers.get('retry-after')]).toEqual([403, '10'])
    const problem = (await told.json()) as typeof shown
    expect(Object.keys(problem)).toEqual(Object.keys(shown))
    expect(Object.keys(problem.question)).toEqual(Object.keys(shown.question))
    const plain = (text: string) => text.replaceAll(/[0-9A-Z]{10}/g, 'ID').replace(/finn/i, 'Finn')
    expect(plain(problem.detail)).toBe(plain(shown.detail))

    const reply = { 'countersign-reply': `${problem.question.id} ${words}` }
    const again = world.call(replica, '/refunds/asked', { headers: reply })
    await world.until(`SELECT FROM countersign.question WHERE approval = $1 AND replied_at IS NOT NULL`, [id])
    expect((await world.vote(replica, id)).status).toBe(409)
    expect((await world.vote(replica, id, { more: { replies: 1 } })).status).toBe(200)
    expect((await again).status).toBe(200)
    expect(received.at(-1)?.request.headers).not.toHaveProperty('countersign-reply')
  })

  it('is made by the gateway if the client asks for that', async () => {
    const accepted = await world.call(replica, '/later', { headers: { prefer: 'respond-async' } })
    expect(accepted.status).toBe(202)
    const { approval } = (await accepted.json()) as { approval: string }
    await world.approve(replica, approval)
    const response = await fetch(`${replica.url}${accepted.headers.get('location')}?wait=30`, {
      headers: { authorization: `Bearer ${await world.agentToken()}` },
    })
    expect([response.status, await response.text()]).toEqual([200, '{}'])
  })
})

describe('the example for owners of upstreams', () => {
  it('says who calls', async () => {
    expect((await world.call(replica, '/notes?a=1', { method: 'PUT', body: '{"text":"x"}' })).status).toBe(200)
    expect(received.at(-1)?.claims).toMatchObject({
      iss: 'https://gateway.example.com',
      aud: 'billing',
      sub: `${world.issuer}|support-agent`,
      owner: `${world.issuer}|olivia`,
      method: 'PUT',
      path: '/base/notes?a=1',
    })
  })

  it('refuses an assertion for another request or another body, and none', async () => {
    await world.call(replica, '/notes', { method: 'PUT', body: '{"text":"y"}' })
    const last = received.at(-1) ?? expect.fail('it arrived')
    await expect(verifier.verifyAssertion(last.request, last.body)).resolves.toBeDefined()
    await expect(verifier.verifyAssertion({ ...last.request, url: '/base/other' }, last.body)).rejects.toThrow(
      'request',
    )
    await expect(verifier.verifyAssertion(last.request, Buffer.from('{}'))).rejects.toThrow('body')
    await expect(verifier.verifyAssertion({ ...last.request, headers: {} }, last.body)).rejects.toThrow()
  })

  it('knows every claim that the page lists, and no other', async () => {
    const claims = tableUnder(page, 'For owners of upstreams').flatMap(([names = '']) => quoted(names))
    for (const { claims: made } of received) expect(claims).toEqual(expect.arrayContaining(Object.keys(made)))
    expect(received.some(({ claims: made }) => 'approval' in made)).toBe(true)
  })
})
