import { readdirSync, readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { z } from 'zod'
import { createAgents } from '../../src/identity/agents.ts'
import { checkIssuers } from '../../src/identity/check-issuers.ts'
import { agentIssuersOptions, peopleOptions } from '../../src/identity/options.ts'
import { createPeople } from '../../src/identity/people.ts'
import { makeKey, sign, startIssuer, type TestIssuer, type TestKey } from './issuer.ts'
import { bearer, makeClock, makeMetrics, silentLog } from './parts.ts'

const GUIDES = new URL('../../docs/identity/', import.meta.url)
const GOLDEN = new URL('./golden/', import.meta.url)
const providers = readdirSync(GUIDES)
  .filter((name) => name !== 'tokens.md')
  .map((name) => name.replace(/\.md$/, ''))

const claims = z.record(z.string(), z.unknown())
const sample = z.strictObject({
  agent: z.strictObject({ header: claims, claims, principal: claims }),
  person: z.strictObject({ header: claims, claims, person: claims }).optional(),
})

/** A guide for agents alone names owners of an issuer that stands for the reader's own. */
const READERS_PEOPLE = [
  { issuer: 'https://idp.example.com', audience: 'console', client_id: 'console', authorized_parties: ['console'] },
]
const CA = '-----BEGIN CERTIFICATE-----\n'

function readGuide(provider: string) {
  const text = readFileSync(new URL(`${provider}.md`, GUIDES), 'utf8')
  const snippets = [...text.matchAll(/^```yaml\n(.*?)^```$/gms)].map((match) => match[1] ?? '')
  expect(snippets).toHaveLength(1)
  const yaml = z
    .strictObject({ agent_issuers: z.array(z.unknown()), people: z.array(z.unknown()).default(READERS_PEOPLE) })
    .parse(parse(snippets[0]?.replaceAll(/\$\{file:[^}]*\}/g, JSON.stringify(CA)) ?? ''))
  return { agents: agentIssuersOptions.parse(yaml.agent_issuers), people: peopleOptions.parse(yaml.people) }
}

function readGolden(provider: string) {
  return sample.parse(JSON.parse(readFileSync(new URL(`${provider}.json`, GOLDEN), 'utf8')))
}

const keys = new Map<string, TestKey>()
let publisher: TestIssuer

beforeAll(async () => {
  for (const provider of providers) {
    const { agent, person } = readGolden(provider)
    for (const { header } of person ? [agent, person] : [agent]) {
      const { kid, alg } = z.looseObject({ kid: z.string(), alg: z.string() }).parse(header)
      if (!keys.has(kid)) keys.set(kid, await makeKey(alg, kid))
    }
  }
  publisher = await startIssuer([...keys.values()].map(({ jwk }) => jwk))
})
afterAll(() => publisher.close())

/** Signs as the provider would; a header without `typ` has none. */
async function signSample({ header, claims }: { header: Record<string, unknown>; claims: Record<string, unknown> }) {
  const key = keys.get(String(header['kid'])) ?? expect.fail('no such key')
  return await sign(key, claims, { typ: undefined, ...header })
}

/** The guide's issuers, with keys that the test can sign with. */
const republish = <Options extends object>(options: readonly Options[]) =>
  options.map((issuer) => ({ ...issuer, jwks_uri: `${publisher.url}/keys`, ca: undefined }))

const parts = { clock: makeClock(1_800_000_010_000), log: silentLog }

describe.each(providers)('the guide for %s', (provider) => {
  it('has a configuration that a gateway starts with', () => {
    const { agents, people } = readGuide(provider)
    expect(checkIssuers(agents, people)).toEqual([])
  })

  it('leads to the right principal for a token of the provider', async () => {
    const { agents: issuers, people } = readGuide(provider)
    const { agent, person } = readGolden(provider)
    const agents = createAgents({ ...parts, issuers: republish(issuers), people, metrics: makeMetrics() })
    expect(await agents.identify(bearer(await signSample(agent)))).toEqual(agent.principal)
    if (person) expect(await agents.identify(bearer(await signSample(person)))).toMatchObject({ refused: true })
    await agents.close()
  })
})

describe.each(providers.filter((provider) => readGolden(provider).person))('the guide for people of %s', (provider) => {
  it('leads to the right person, and to no person for an agent', async () => {
    const { people: issuers } = readGuide(provider)
    const { agent, person } = readGolden(provider)
    const people = createPeople({ ...parts, issuers: republish(issuers) })
    if (person) expect(await people.identify(await signSample(person), 'vote')).toEqual(person.person)
    expect(await people.identify(await signSample(agent), 'vote')).toMatchObject({ refused: true })
    await people.close()
  })
})
