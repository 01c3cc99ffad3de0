import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import pino from 'pino'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { LogEntry } from '../../src/audit/entries.ts'
import { createExporter } from '../../src/control/console/export.ts'
import { fakeAudit, logEntry } from './books.ts'
import { personOf } from './people.ts'

const open: FastifyInstance[] = []
afterEach(async () => {
  for (const app of open.splice(0)) {
    // Files that nobody reads to their end.
    app.server.closeAllConnections()
    await app.close()
  }
})

/** A listener that gives whoever asks the file of what `scan` finds. */
async function serve(scan: () => AsyncIterable<readonly LogEntry[]>) {
  const audit = { ...fakeAudit(), scan }
  const exporter = createExporter({ audit, log: pino({ level: 'silent' }) })
  const ended = new Set<string>()
  const app = Fastify()
  open.push(app)
  app.get<{ Params: { who: string }; Querystring: { format?: 'csv' | 'jsonl' } }>('/:who', (request, reply) => {
    const { who } = request.params
    const person = personOf(who)
    const visitor = { id: who, checkedAt: 0, endsAt: 1e15, isRenewable: true, csrf: '' }
    const caller = { ...visitor, person, isStillIn: async () => !ended.has(who) }
    const { format = 'csv' } = request.query
    return exporter.entries(reply, caller, { search: {}, after: 0, format }) ?? reply.code(429).send('busy')
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo // it listens on TCP
  return { ended, get: (path: string, init: RequestInit = {}) => fetch(`http://127.0.0.1:${port}${path}`, init) }
}

/** Batches that come one at a time, as a test lets them. */
function gated() {
  const gates = [1, 2].map(() => Promise.withResolvers<void>())
  async function* scan() {
    for (const [index, { promise }] of gates.entries()) {
      await promise
      yield [logEntry(index + 1)]
    }
  }
  return { scan, let: (index: number) => gates[index]?.resolve() }
}

describe('an export', () => {
  it('is one at a time for a person, and few for all', async () => {
    const gate = gated()
    const { get } = await serve(gate.scan)
    const leave = new AbortController()
    const first = await get('/ann')
    const others = await Promise.all(['/bob', '/cid'].map((who) => get(who, { signal: leave.signal })))
    expect(others.map(({ status }) => status)).toEqual([200, 200])
    expect((await get('/dan')).status).toBe(429)
    expect((await get('/ann')).status).toBe(429)
    leave.abort()
    gate.let(0)
    gate.let(1)
    expect(await first.text()).toContain('"/refunds/2"')
    // Who left, and who has it, may ask again.
    for (const who of ['/ann', '/bob', '/dan']) {
      await vi.waitFor(async () => expect((await get(who)).status).toBe(200), { timeout: 5_000 })
    }
  })

  it('is broken off when its person signs out, so that it cannot be taken for whole', async () => {
    const gate = gated()
    const { get, ended } = await serve(gate.scan)
    gate.let(0)
    const response = await get('/ann')
    ended.add('ann')
    gate.let(1)
    await expect(response.text()).rejects.toThrow()
  })

  it('is broken off when the store fails', async () => {
    const { get } = await serve(async function* () {
      yield [logEntry(1)]
      throw new Error('the store is away')
    })
    const response = await get('/ann')
    await expect(response.text()).rejects.toThrow()
  })

  it.each([
    ['csv', '"Cut after 100000 rows. Go on with after=100000."'],
    ['jsonl', '{"cut_after":100000}'],
  ])('ends after many rows, and says so: %s', async (format, says) => {
    const row = logEntry(0)
    const { get } = await serve(async function* () {
      for (let seq = 0; seq < 100_500; seq += 500) {
        yield Array.from({ length: 500 }, (_, index) => ({ ...row, seq: seq + index + 1 }))
      }
    })
    const lines = (await (await get(`/ann?format=${format}`)).text()).trimEnd().split('\n')
    expect(lines.length).toBe(100_001 + (format === 'csv' ? 1 : 0))
    expect(lines.at(-1)?.trimEnd()).toBe(says)
  })
})
