import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { slack } from '../src/channels/slack/index.ts'
import { loadConfig } from '../src/config.ts'
import { http } from '../src/protocols/http/index.ts'

const parts = { protocols: [http], channels: [slack] }
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
