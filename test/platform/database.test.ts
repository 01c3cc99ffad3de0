import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Database, openDatabase, sqlState } from '../../src/platform/database.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { createEmptyDatabase, type TestDatabase } from '../postgres.ts'

const log = createLogger({ level: 'silent' })

/** A port that can be cut and restored, in front of the real server. */
async function startCable(target: URL): Promise<{ url: string; cut(): void; restore(): void; close(): Promise<void> }> {
  const sockets = new Set<Socket>()
  let isCut = false
  const server: Server = createServer((from) => {
    if (isCut) return void from.destroy()
    const { connect } = process.getBuiltinModule('node:net')
    const to = connect(Number(target.port), target.hostname)
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      sockets.add(one)
      one.on('error', () => other.destroy())
      one.on('close', () => {
        sockets.delete(one)
        other.destroy()
      })
      one.pipe(other)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const url = new URL(target)
  url.port = String(typeof address === 'object' ? address?.port : '')
  const drop = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: url.href,
    cut() {
      isCut = true
      drop()
    },
    restore() {
      isCut = false
    },
    async close() {
      drop()
      server.close()
      await once(server, 'close')
    },
  }
}

describe('openDatabase', () => {
  let store: TestDatabase
  let admin: Database

  beforeEach(async () => {
    store = await createEmptyDatabase()
    admin = openDatabase({ url: store.adminUrl, log })
    await admin.query('CREATE TABLE public.thing (id int PRIMARY KEY, at timestamptz)')
    await admin.query('GRANT ALL ON public.thing TO PUBLIC')
  })

  afterEach(async () => {
    await admin.close()
    await store.close()
  })

  const count = async () => (await admin.query<{ count: number }>('SELECT count(*) FROM public.thing')).rows[0]?.count

  it('sets every session so that an entry is on disk and nothing waits for ever, whatever the role is set to', async () => {
    const expected = {
      synchronous_commit: 'on',
      statement_timeout: '5000',
      lock_timeout: '2000',
      idle_in_transaction_session_timeout: '2000',
      tcp_user_timeout: '2000',
      tcp_keepalives_idle: '10',
      transaction_isolation: 'read committed',
      transaction_read_only: 'off',
      search_path: 'countersign, pg_temp',
    }
    const [role, name] = [new URL(store.url).username, new URL(store.url).pathname.slice(1)]
    for (const setting of [
      'synchronous_commit = off',
      "default_transaction_isolation = 'serializable'",
      'default_transaction_read_only = on',
      'statement_timeout = 0',
      'search_path = public',
    ]) {
      await admin.query(`ALTER ROLE ${role} IN DATABASE ${name} SET ${setting}`)
    }
    const text = 'SELECT json_object_agg(name, setting) AS settings FROM pg_settings WHERE name = ANY ($1)'
    const values = [Object.keys(expected)]
    const dedicated = await store.database.dedicated()
    for (const { rows } of [
      await store.database.query(text, values),
      await store.database.transaction((tx) => tx.query(text, values)),
      await dedicated.query({ text, values }),
    ]) {
      expect(rows).toEqual([{ settings: expected }])
    }
    await dedicated.close()
  })

  it('reads int8 as a number', async () => {
    const { rows } = await store.database.query(
      'SELECT 9007199254740991::bigint AS most, count(*) AS some, 9007199254740993 AS more',
    )
    expect(rows).toEqual([{ most: 9007199254740991, some: 1, more: '9007199254740993' }])
  })

  describe('transaction', () => {
    it('commits what its work did, and nothing of work that throws', async () => {
      const { database } = store
      const value = await database.transaction(async (tx) => {
        await tx.query('INSERT INTO public.thing VALUES ($1, now())', [1])
        return 'done'
      })
      expect(value).toBe('done')
      const fault = new Error('no')
      const failing = database.transaction(async (tx) => {
        await tx.query('INSERT INTO public.thing VALUES (2, now())')
        throw fault
      })
      await expect(failing).rejects.toBe(fault)
      expect(await count()).toBe(1)
    })

    it('fails if an error was swallowed in it, since nothing of it was kept', async () => {
      const swallowing = store.database.transaction(async (tx) => {
        await tx.query('INSERT INTO public.thing VALUES (1, now())')
        await tx.query('SELECT 1 / 0').catch(() => undefined)
      })
      await expect(swallowing).rejects.toMatchObject({ code: 'internal' })
      expect(await count()).toBe(0)
    })

    it('cannot be used after its end', async () => {
      const tx = await store.database.transaction(async (inner) => inner)
      await expect(tx.query('SELECT 1')).rejects.toMatchObject({ code: 'internal' })
    })

    it('passes errors of the server as they are', async () => {
      await admin.query('INSERT INTO public.thing VALUES (1)')
      const failing = store.database.transaction((tx) => tx.query('INSERT INTO public.thing VALUES (1)'))
      const error = await failing.catch((caught: unknown) => caught)
      expect(sqlState(error)).toBe('23505')
    })

    it('gives up on a lock after two seconds, and the pool works on', async () => {
      await admin.query('INSERT INTO public.thing VALUES (1)')
      await admin.transaction(async (tx) => {
        await tx.query('SELECT FROM public.thing FOR UPDATE')
        const waiting = store.database.transaction((other) => other.query('SELECT FROM public.thing FOR UPDATE'))
        // The holder is idle in its transaction as long as the other waits: it must not be timed out first.
        const busy = tx.query('SELECT pg_sleep(2.5)')
        const error = await waiting.catch((caught: unknown) => caught)
        expect(error).toMatchObject({ code: 'store' })
        expect(sqlState(error)).toBe('55P03')
        await busy
      })
      expect((await store.database.query('SELECT 1 AS one')).rows).toEqual([{ one: 1 }])
    })

    it('is ended when it idles for two seconds, without harm to the process', async () => {
      const { promise, resolve } = Promise.withResolvers<void>()
      const begun = Promise.withResolvers<void>()
      const idling = store.database.transaction(async (tx) => {
        await tx.query('SELECT 1')
        begun.resolve()
        await promise
        await tx.query('SELECT 1')
      })
      idling.catch(() => undefined)
      await begun.promise
      await expect
        .poll(
          async () =>
            (
              await admin.query(
                "SELECT FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'",
              )
            ).rowCount,
          {
            timeout: 8_000,
          },
        )
        .toBe(0)
      resolve()
      await expect(idling).rejects.toMatchObject({ code: 'store' })
      expect(await store.database.isReachable()).toBe(true)
    })
  })

  describe('when the server cannot be reached', () => {
    it('fails as the store, quickly', async () => {
      const database = openDatabase({ url: 'postgres://a:b@127.0.0.1:1/c', log })
      await expect(database.query('SELECT 1')).rejects.toMatchObject({ code: 'store', cause: { code: 'ECONNREFUSED' } })
      await expect(database.transaction(async () => 1)).rejects.toMatchObject({ code: 'store' })
      await expect(database.listen('x', () => undefined)).rejects.toMatchObject({ code: 'store' })
      const dedicated = await database.dedicated()
      await expect(dedicated.query({ text: 'SELECT 1' })).rejects.toMatchObject({ code: 'store' })
      expect(await database.isReachable()).toBe(false)
      await database.close()
    })

    it('fails as the store when a server accepts and says nothing', async () => {
      const silent = createServer(() => undefined)
      silent.listen(0, '127.0.0.1')
      await once(silent, 'listening')
      const address = silent.address()
      const port = typeof address === 'object' ? address?.port : 0
      const database = openDatabase({ url: `postgres://a:b@127.0.0.1:${port}/c`, log })
      const before = performance.now()
      expect(await database.isReachable()).toBe(false)
      await expect(database.query('SELECT 1')).rejects.toMatchObject({ code: 'store' })
      expect(performance.now() - before).toBeLessThan(8_000)
      await database.close()
      silent.close()
    })

    it('fails as the store with wrong credentials, without saying them', async () => {
      const url = new URL(store.url)
      url.password = 'not-the-password'
      const database = openDatabase({ url: url.href, log })
      const error = await database.query('SELECT 1').catch((caught: unknown) => caught)
      expect(error).toMatchObject({ code: 'store' })
      expect(String(error)).not.toContain('not-the-password')
      await database.close()
    })

    it('goes on when the server comes back', async () => {
      const cable = await startCable(new URL(store.url))
      const database = openDatabase({ url: cable.url, log })
      try {
        const dedicated = await database.dedicated()
        const ask = { name: 'ask', text: 'SELECT $1::int AS given' }
        expect((await dedicated.query({ ...ask, values: [1] })).rows).toEqual([{ given: 1 }])
        await database.query('SELECT 1')
        const asleep = Promise.allSettled([
          database.query('SELECT pg_sleep(5)'),
          dedicated.query({ text: 'SELECT pg_sleep(5)' }),
        ])
        cable.cut()
        expect(await asleep).toMatchObject([{ reason: { code: 'store' } }, { reason: { code: 'store' } }])
        await expect(dedicated.query({ ...ask, values: [2] })).rejects.toMatchObject({ code: 'store' })
        expect(await database.isReachable()).toBe(false)
        cable.restore()
        expect((await dedicated.query({ ...ask, values: [3] })).rows).toEqual([{ given: 3 }])
        expect(await database.isReachable()).toBe(true)
      } finally {
        await database.close()
        await cable.close()
      }
    })

    it('keeps nothing of a transaction that was cut off', async () => {
      const cable = await startCable(new URL(store.url))
      const database = openDatabase({ url: cable.url, log })
      try {
        const cutOff = database.transaction(async (tx) => {
          await tx.query('INSERT INTO public.thing VALUES (1)')
          cable.cut()
          await tx.query('INSERT INTO public.thing VALUES (2)')
        })
        await expect(cutOff).rejects.toMatchObject({ code: 'store' })
        expect(await count()).toBe(0)
      } finally {
        await database.close()
        await cable.close()
      }
    })
  })

  describe('listen', () => {
    it('hears each channel on its own, and again after the connection was lost', async () => {
      const cable = await startCable(new URL(store.url))
      const database = openDatabase({ url: cable.url, log })
      const heard: string[] = []
      try {
        await database.listen('decided', (payload) => heard.push(`decided ${payload}`))
        await database.listen('suspended', (payload) => heard.push(`suspended ${payload}`))
        await admin.query("SELECT pg_notify('decided', '1'), pg_notify('suspended', '2'), pg_notify('other', '3')")
        await expect.poll(() => heard).toEqual(['decided 1', 'suspended 2'])
        heard.length = 0
        cable.cut()
        await admin.query("SELECT pg_notify('decided', 'lost')")
        cable.restore()
        // The reconnect itself is told, so that whoever listens looks for what was lost.
        await expect.poll(() => heard, { timeout: 5_000 }).toEqual(['decided ', 'suspended '])
        await admin.query("SELECT pg_notify('decided', '4')")
        await expect.poll(() => heard).toContain('decided 4')
      } finally {
        await database.close()
        await cable.close()
      }
    })

    it('goes on after a listener failed', async () => {
      const heard: string[] = []
      await store.database.listen('x', () => {
        throw new Error('no')
      })
      await store.database.listen('x', (payload) => heard.push(payload))
      await admin.query("SELECT pg_notify('x', 'a'), pg_notify('x', 'b')")
      await expect.poll(() => heard).toEqual(['a', 'b'])
    })

    it('takes no name that would be another statement', async () => {
      await expect(store.database.listen('x; DROP TABLE thing', () => undefined)).rejects.toMatchObject({
        code: 'internal',
      })
    })
  })

  describe('dedicated', () => {
    it('runs what is sent without waiting in order, each statement on its own', async () => {
      const dedicated = await store.database.dedicated()
      const results = await Promise.allSettled([
        dedicated.query({ name: 'insert', text: 'INSERT INTO public.thing VALUES ($1)', values: [1] }),
        dedicated.query({ name: 'insert', text: 'INSERT INTO public.thing VALUES ($1)', values: [1] }),
        dedicated.query({ name: 'insert', text: 'INSERT INTO public.thing VALUES ($1)', values: [2] }),
      ])
      expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
      expect(await count()).toBe(2)
      await dedicated.close()
      await expect(dedicated.query({ text: 'SELECT 1' })).rejects.toMatchObject({ code: 'internal' })
    })
  })

  it('has no connection any more when it is closed, so that the server may be ended', async () => {
    for (let round = 0; round < 3; round++) {
      const database = openDatabase({ url: store.url, log })
      await database.listen('x', () => undefined)
      const dedicated = await database.dedicated()
      await Promise.all([
        dedicated.query({ text: 'SELECT 1' }),
        ...Array.from({ length: 10 }, () => database.query('SELECT pg_sleep(0.02)')),
      ])
      await database.close()
      const { rows } = await admin.query(
        `SELECT query FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'`,
      )
      expect(rows).toEqual([])
    }
  })

  it('closes once, however often it is asked, and refuses afterwards', async () => {
    const database = openDatabase({ url: store.url, log })
    await database.query('SELECT 1')
    await database.listen('x', () => undefined)
    await Promise.all([database.close(), database.close()])
    await expect(database.query('SELECT 1')).rejects.toMatchObject({ code: 'store' })
  })
})
