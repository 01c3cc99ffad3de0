import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { slack } from '../src/channels/slack/index.ts'
import { loadConfig } from '../src/config.ts'
import { mintedLifetime } from '../src/identity/options.ts'
import { http } from '../src/protocols/http/index.ts'
import { postgres } from '../src/protocols/postgres/index.ts'

const parts = { protocols: [http, postgres], channels: [slack] }
let folder: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-config-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

const SOUND = {
  gateway: { public_url: 'http://127.0.0.1:8080' },
  control: { public_url: 'http://127.0.0.1:8081' },
  agent_issuers: [{ issuer: 'https://idp.example.com', audiences: ['http://127.0.0.1:8080'], owner: 'none' }],
  upstreams: [{ name: 'billing', protocol: 'http', url: 'https://billing.example.com' }],
}

/** Loads the sound configuration with something else in it. */
function load(changes: object, options?: Parameters<typeof loadConfig>[2]) {
  const file = join(folder, 'countersign.yaml')
  writeFileSync(file, JSON.stringify({ ...SOUND, ...changes }, null, 1), { mode: 0o600 })
  return loadConfig(file, parts, options)
}

describe('two listeners', () => {
  const gateway = (listen: string) => ({ ...SOUND.gateway, listen, behind_tls_proxy: true })
  const control = (listen: string) => ({ ...SOUND.control, listen, behind_tls_proxy: true })

  it.each([
    ['the same place', '127.0.0.1:9000', '127.0.0.1:9000'],
    ['all places and one of them', '0.0.0.0:9000', '127.0.0.1:9000'],
    ['one place and all of them', '127.0.0.1:9000', '[::]:9000'],
  ])('are refused on %s', (_, one, other) => {
    expect(() => load({ gateway: gateway(one), control: control(other) })).toThrow(
      /:\d+: control\.listen is where gateway\.listen is: one of them needs another port$/,
    )
  })

  it('are refused where metrics have the place of one', () => {
    expect(() => load({ metrics: { listen: '127.0.0.1:8081' } })).toThrow('metrics.listen is where control.listen is')
  })

  it('may have one port on two addresses, or any free ones', () => {
    load({ gateway: gateway('10.0.0.1:9000'), control: control('10.0.0.2:9000') })
    load({ gateway: gateway('127.0.0.1:0'), control: control('127.0.0.1:0') })
  })
})

describe('a minted credential', () => {
  const lasting = (lifetime: string) => ({
    gateway: { ...SOUND.gateway, credentials: { lifetime } },
    session_max: '30m',
  })

  it('lasts no longer than a session', () => {
    expect(() => load(lasting('31m'))).toThrow(/:\d+: a minted credential may last no longer than a session/)
    expect(load(lasting('30m')).gateway.credentials.lifetime).toBe(30 * 60_000)
  })

  it.each([
    ['an hour', {}, 3_600_000],
    ['as long as a session, where that is shorter', { session_max: '30m' }, 1_800_000],
    ['as long as it is said to', lasting('5m'), 300_000],
  ])('lasts %s', (_how, changes, lifetimeMs) => {
    const { gateway, session_max: sessionMaxMs } = load(changes)
    expect(mintedLifetime(gateway.credentials, sessionMaxMs)).toBe(lifetimeMs)
  })
})

describe('an upstream with a listener of its own', () => {
  const orders = {
    name: 'orders',
    protocol: 'postgres',
    url: 'postgres://db.example.com',
    listen: '127.0.0.1:6432',
    credential: { basic: { user: 'agents', password: 'a-password' } },
  }
  const withOrders = (changes: object, more: object = {}) => load({ upstreams: [{ ...orders, ...changes }], ...more })
  const tls = { cert: '-----BEGIN CERTIFICATE-----\n', key: '-----BEGIN PRIVATE KEY-----\n' }

  it('has the usual port, and any database', () => {
    const [upstream] = withOrders({}).upstreams
    expect(upstream).toMatchObject({ url: { host: 'db.example.com', port: 5432, database: null } })
  })

  it.each([
    ['postgresql://[::1]:6000/a%20shop', { host: '::1', port: 6000, database: 'a shop' }],
    ['postgres://db.example.com/', { host: 'db.example.com', port: 5432, database: null }],
  ])('is at %s', (url, expected) => {
    expect(withOrders({ url }).upstreams[0]).toMatchObject({ url: expected })
  })

  it.each([
    ['https://db.example.com', 'must be a URL like postgres://db.internal:5432/shop'],
    ['postgres:///shop', 'must be a URL like postgres://db.internal:5432/shop'],
    ['postgres://me@db.example.com', 'must not hold a user or a password'],
    ['postgres://db.example.com?sslmode=disable', 'sslmode is a key of its own'],
    ['postgres://db.example.com/one/two', 'must name one database, or none'],
    ['postgres://db.example.com/%zz', 'must name one database, or none'],
    ['postgres://db.example.com/a%00b', 'must name one database, or none'],
  ])('is not at %s', (url, message) => {
    expect(() => withOrders({ url })).toThrow(message)
  })

  it('needs a certificate off loopback, its own or that of the gateway', () => {
    expect(() => withOrders({ listen: '0.0.0.0:6432' })).toThrow('orders.listen is off loopback: it needs tls')
    withOrders({ listen: '0.0.0.0:6432', tls })
    withOrders({ listen: '0.0.0.0:6432' }, { gateway: { ...SOUND.gateway, tls } })
  })

  it.each([
    ['ca', { ca: '/etc/ssl/ca.pem' }, 'ca: must be PEM certificates, mostly by ${file:…}'],
    [
      'tls.cert',
      { tls: { ...tls, cert: '/etc/ssl/tls.crt' } },
      'tls.cert: must be PEM certificates, mostly by ${file:…}',
    ],
    [
      'tls.key',
      { tls: { ...tls, key: '/etc/ssl/tls.key' } },
      'tls.key: must be a PEM private key, mostly by ${file:…}',
    ],
  ])('takes no path for the text of a file in %s', (_key, changes, message) => {
    expect(() => withOrders(changes)).toThrow(message)
  })

  it.each([
    [{ wait: 600 }, 'wait: must be a duration like 50s, 15m or 8h'],
    [{ max_batch: 4096 }, 'max_batch: must be a size like 512KiB or 10MiB'],
    [{ listen: 6432 }, 'listen: must be host:port'],
  ])('has units and a host, which quotes would not give it: %j', (changes, message) => {
    expect(() => withOrders(changes)).toThrow(message)
  })

  it('needs a place that no other listener has', () => {
    const taken = 'listen of orders is where gateway.listen is'
    expect(() => withOrders({ listen: '127.0.0.1:8080' })).toThrow(taken)
  })

  it('needs a credential, but not from who reads policies', () => {
    expect(() => withOrders({ credential: undefined })).toThrow('orders has no credential')
    const upstreams = [{ ...orders, credential: { basic: { user: 'agents', password: '${NOT_SET_HERE}' } } }]
    expect(load({ upstreams }, { readsOnly: 'policies' }).upstreams).toMatchObject([{ name: 'orders' }])
  })
})

describe('secrets that are not at hand', () => {
  const upstreams = [{ ...SOUND.upstreams[0], credential: { bearer: '${NOT_SET_HERE}' } }]
  const channels = { slack: { bot_token: '${NOT_SET_HERE}' } }
  const store = { url: '${NOT_SET_HERE}' }

  it('are needed by who serves, and by who checks', () => {
    for (const options of [{}, { withKeys: true }]) {
      expect(() => load({ upstreams, channels }, options)).toThrow('the environment variable NOT_SET_HERE is not set')
    }
  })

  it('are not needed by who reads the log, but for those of the store', () => {
    expect(load({ upstreams, channels }, { readsOnly: 'log' }).upstreams).toMatchObject([{ name: 'billing' }])
    expect(() => load({ store }, { readsOnly: 'log' })).toThrow('the environment variable NOT_SET_HERE is not set')
  })

  it('are not needed by who reads policies', () => {
    const config = load({ upstreams, channels, store }, { readsOnly: 'policies' })
    expect(config.upstreams).toMatchObject([{ name: 'billing' }])
  })
})
