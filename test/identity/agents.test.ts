import { createHmac, createPublicKey, randomBytes } from 'node:crypto'
import { CompactEncrypt, exportSPKI, importJWK } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Agents } from '../../src/identity/agents.ts'
import { makeKey, sign, startIssuer, type TestIssuer, type TestKey } from './issuer.ts'
import { bearer, makeAgents, makeClock, makeMetrics } from './parts.ts'

const GATEWAY = 'https://gateway.example.com'
const clock = makeClock(1_800_000_000_000)
const nowS = 1_800_000_000
const metrics = makeMetrics()

let rsa: TestKey
let ec: TestKey
let stranger: TestKey
let issuer: TestIssuer
let agents: Agents

beforeAll(async () => {
  rsa = await makeKey('RS256', 'rsa-1')
  ec = await makeKey('ES256', 'ec-1')
  stranger = await makeKey('RS256', 'rsa-1')
  issuer = await startIssuer([rsa.jwk, ec.jwk])
  agents = makeAgents({
    issuers: [
      {
        issuer: issuer.url,
        name: 'idp',
        audiences: [GATEWAY, 'urn:gateway'],
        algorithms: ['RS256', 'ES256'],
        groups: { claim: 'groups' },
        acts_for: { claim: 'act' },
        owner: { claim: 'owner' },
      },
    ],
    people: [
      { issuer: 'https://people.example', audience: 'console', client_id: 'console', authorized_parties: ['console'] },
    ],
    clock,
    metrics,
  })
  expect(await agents.probe()).toEqual([])
})

afterAll(async () => {
  await agents.close()
  await issuer.close()
})

function claims(change: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    iss: issuer.url,
    sub: 'support-agent',
    aud: GATEWAY,
    exp: nowS + 300,
    iat: nowS,
    owner: 'https://people.example|olivia',
    ...change,
  }
}

const encode = (text: string) => Buffer.from(text).toString('base64url')
const identify = (token: string) => agents.identify(bearer(token))

/** A token with any header and payload, signed with the issuer's own RSA key. */
async function raw(header: string, payload: string): Promise<string> {
  const { subtle } = globalThis.crypto
  const input = `${encode(header)}.${encode(payload)}`
  const signature = await subtle.sign('RSASSA-PKCS1-v1_5', rsa.privateKey, Buffer.from(input))
  return `${input}.${Buffer.from(signature).toString('base64url')}`
}

describe('a good token', () => {
  it('identifies an autonomous agent, with its owner', async () => {
    const token = await sign(rsa, claims({ groups: ['support-agents'], client_id: 'support' }))
    expect(await identify(token)).toEqual({
      issuer: issuer.url,
      subject: 'support-agent',
      onBehalfOf: null,
      actors: [],
      owner: { issuer: 'https://people.example', subject: 'olivia' },
      groups: [{ issuerName: 'idp', name: 'support-agents' }],
      client: 'support',
      expiresAt: nowS + 300,
    })
  })

  it('identifies the current actor of a delegated one, and the actors before it', async () => {
    const act = { sub: 'agent-2', act: { sub: 'agent-1', iss: 'https://people.example', act: { sub: 'agent-0' } } }
    const token = await sign(ec, claims({ sub: 'alice', act, owner: { iss: issuer.url, sub: 'olivia' } }))
    expect(await identify(token)).toMatchObject({
      issuer: issuer.url,
      subject: 'agent-2',
      onBehalfOf: { issuer: issuer.url, subject: 'alice' },
      actors: [
        { issuer: 'https://people.example', subject: 'agent-1' },
        { issuer: issuer.url, subject: 'agent-0' },
      ],
      owner: { issuer: issuer.url, subject: 'olivia' },
    })
  })

  it.each([
    ['several audiences that are all ours', { aud: [GATEWAY, 'urn:gateway'] }],
    ['an exp of 29 s ago', { exp: nowS - 29 }],
    ['an nbf 29 s ahead', { nbf: nowS + 29 }],
    ['an iat 29 s ahead', { iat: nowS + 29 }],
    ['no iat', { iat: undefined }],
    ['groups left out for want of room', { _claim_names: { groups: 'src1' } }],
  ])('may have %s', async (_, change) => {
    expect(await identify(await sign(rsa, claims(change)))).toMatchObject({ subject: 'support-agent', groups: [] })
  })
})

describe('a bad token is refused as invalid_token, saying why:', () => {
  const refused = async (token: string, why: RegExp) => {
    const refusal = await identify(token)
    expect(refusal).toMatchObject({ refused: true, code: 'unauthenticated', challenge: { error: 'invalid_token' } })
    expect(refusal).toMatchObject({ challenge: { description: expect.stringMatching(why) } })
    // Never an echo of what was sent, and nothing that ends the quoted string of a header early.
    expect(refusal).toMatchObject({
      challenge: { description: expect.stringMatching(/^[\x20\x21\x23-\x5b\x5d-\x7e]+$/) },
    })
  }

  it.each([
    ['another audience', { aud: 'https://other.example.com' }, /another audience/],
    ['an audience of ours with a slash more', { aud: `${GATEWAY}/` }, /another audience/],
    ['others’ audiences beside ours', { aud: [GATEWAY, 'https://other.example.com'] }, /other audiences as well/],
    ['no audience', { aud: undefined }, /no audience/],
    ['an empty list of audiences', { aud: [] }, /no audience/],
    ['an audience that is an object', { aud: { [GATEWAY]: true } }, /neither a string nor/],
    ['a list of audiences with a number', { aud: [GATEWAY, 1] }, /neither a string nor/],
    ['no issuer', { iss: undefined }, /no iss/],
    ['an unknown issuer', { iss: 'https://evil.example.com' }, /not known/],
    ['an issuer that is a list', { iss: ['x'] }, /not known/],
    ['an exp of 30 s ago', { exp: nowS - 30 }, /expired/],
    ['no exp', { exp: undefined }, /no exp/],
    ['an exp that is text', { exp: '1900000000' }, /not a number/],
    ['an exp that is null', { exp: null }, /not a number/],
    ['a negative exp', { exp: -1 }, /not a number/],
    ['an nbf 31 s ahead', { nbf: nowS + 31 }, /not valid yet/],
    ['an nbf that is text', { nbf: 'now' }, /not a number/],
    ['an iat 31 s ahead', { iat: nowS + 31 }, /in the future/],
    ['no subject', { sub: undefined }, /subject/],
    ['an empty subject', { sub: '' }, /subject/],
    ['a subject that is a number', { sub: 7 }, /subject/],
    ['a subject that is null', { sub: null }, /subject/],
    ['a subject with NUL', { sub: 'a\0b' }, /payload/],
    ['a subject with a line break', { sub: 'a\nb' }, /subject/],
    ['a subject with a lone surrogate', { sub: 'a\ud800' }, /payload/],
    ['a subject that is too long', { sub: 'a'.repeat(513) }, /subject/],
    ['a bound key (DPoP)', { cnf: { jkt: 'x' } }, /cnf/],
    ['a bound certificate (mTLS)', { cnf: { 'x5t#S256': 'x' } }, /cnf/],
    ['a binding that is null', { cnf: null }, /cnf/],
    ['an actor that is text', { act: 'agent' }, /actor/],
    ['an actor without subject', { act: { client_id: 'agent' } }, /actor/],
    ['an actor of an unknown issuer', { act: { iss: 'https://evil.example', sub: 'a' } }, /actor/],
    ['an actor whose issuer is a number', { act: { iss: 1, sub: 'a' } }, /actor/],
    [
      'a prior actor that cannot be resolved',
      { act: { sub: 'a', act: { iss: 'https://evil.example', sub: 'b' } } },
      /actor/,
    ],
    [
      'six actors',
      { act: [1, 2, 3, 4, 5, 6].reduce((act, n) => ({ sub: `a${n}`, act }), { sub: 'a0' }) },
      /more than five/,
    ],
    ['no owner', { owner: undefined }, /owner/],
    ['an owner by e-mail address', { owner: 'olivia@example.com' }, /owner/],
    ['an owner of an unknown issuer', { owner: 'https://evil.example|olivia' }, /owner/],
    ['an owner without issuer', { owner: { sub: 'olivia' } }, /owner/],
    ['two owners', { owner: ['https://people.example|a', 'https://people.example|b'] }, /owner/],
    ['groups that are one text', { groups: 'admin' }, /groups/],
    ['a group that is a number', { groups: ['a', 1] }, /groups/],
    ['a group with NUL', { groups: ['a\0'] }, /payload/],
    ['a client that is a number', { azp: 5 }, /claim/],
  ])('%s', async (_, change, why) => refused(await sign(rsa, claims(change)), why))

  it('the issuer with a trailing slash, which another entry could be', async () => {
    await refused(await sign(rsa, claims({ iss: `${issuer.url}/` })), /not known/)
  })

  it.each([
    ['jku', { jku: 'https://evil.example/keys' }, /own key/],
    ['x5u', { x5u: 'https://evil.example/cert' }, /own key/],
    ['x5c', { x5c: ['MIIB'] }, /own key/],
    ['jwk', { jwk: { kty: 'oct', k: 'AA' } }, /own key/],
    ['cty', { cty: 'JWT' }, /nests/],
    ['another kind of typ', { typ: 'logout+jwt' }, /typ/],
    ['a DPoP proof', { typ: 'dpop+jwt' }, /typ/],
    ['no kid', { kid: undefined }, /which key/],
    ['an unknown kid', { kid: 'rsa-9' }, /no such key/],
    ['a kid that is a number', { kid: 1 }, /no such key/],
    ['the kid of another kind of key', { kid: 'ec-1' }, /no such key/],
    ['a kid that is a path', { kid: '../../etc/passwd' }, /no such key/],
  ])('header with %s', async (_, header, why) => {
    const text = JSON.stringify({ alg: 'RS256', kid: 'rsa-1', ...header })
    await refused(await raw(text, JSON.stringify(claims())), why)
  })

  it.each([
    ['crit', '{"alg":"RS256","kid":"rsa-1","crit":["exp"]}', /extensions/],
    ['b64', '{"alg":"RS256","kid":"rsa-1","b64":false,"crit":["b64"]}', /extensions/],
    ['b64 that is true', '{"alg":"RS256","kid":"rsa-1","b64":true}', /extensions/],
    ['alg twice', '{"alg":"RS256","kid":"rsa-1","alg":"none"}', /reads the same everywhere/],
    ['a list', '["RS256"]', /header/],
    ['no JSON', 'RS256', /header/],
    ['an alg that is a list', '{"alg":["RS256"],"kid":"rsa-1"}', /algorithm/],
    ['an alg in another case', '{"alg":"rs256","kid":"rsa-1"}', /algorithm/],
    ['no alg', '{"kid":"rsa-1"}', /algorithm/],
  ])('header with %s', async (_, header, why) => refused(await raw(header, JSON.stringify(claims())), why))

  it.each([
    ['the subject twice', (good: string) => good.replace('{', '{"sub":"admin",'), /payload/],
    ['the subject twice, once escaped', (good: string) => good.replace('{', '{"\\u0073ub":"admin",'), /payload/],
    ['a list', () => '[]', /payload/],
    ['no JSON', () => 'hello', /payload/],
  ])('payload with %s', async (_, change, why) => {
    await refused(await raw('{"alg":"RS256","kid":"rsa-1"}', change(JSON.stringify(claims()))), why)
  })

  it('alg none, with and without a signature', async () => {
    const head = encode('{"alg":"none","kid":"rsa-1"}')
    const body = encode(JSON.stringify(claims()))
    await refused(`${head}.${body}.`, /three base64url parts/)
    await refused(`${head}.${body}.AA`, /algorithm/)
  })

  it('HS256 keyed with the issuer’s public key', async () => {
    const pem = await exportSPKI((await importJWK(rsa.jwk, 'RS256')) as never)
    for (const secret of [pem, createPublicKey(pem).export({ type: 'spki', format: 'der' }), JSON.stringify(rsa.jwk)]) {
      const input = `${encode('{"alg":"HS256","kid":"rsa-1"}')}.${encode(JSON.stringify(claims()))}`
      await refused(`${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`, /algorithm/)
    }
  })

  it('an asymmetric algorithm that is not on the issuer’s list', async () => {
    const pss = { ...rsa, alg: 'PS256', privateKey: (await makeKey('PS256', 'rsa-1')).privateKey }
    await refused(await sign(pss, claims()), /algorithm/)
  })

  it('the signature of another key of the same name', async () => {
    await refused(await sign(stranger, claims()), /signature/)
  })

  it('claims that were changed after the signature', async () => {
    const [head, , signature] = (await sign(rsa, claims())).split('.')
    await refused(`${head}.${encode(JSON.stringify(claims({ sub: 'admin' })))}.${signature}`, /signature/)
  })

  it('what is cut, padded, spelled otherwise, or no JWS at all', async () => {
    const token = await sign(rsa, claims())
    const [head = '', body = '', signature = ''] = token.split('.')
    await refused(token.slice(0, -22), /signature/)
    await refused(`${head}.${body}`, /three base64url parts/)
    await refused(`${token}.`, /three base64url parts/)
    await refused(`${token}=`, /three base64url parts/)
    await refused(` ${token}`, /three base64url parts/)
    await refused(`${head}..${signature}`, /three base64url parts/)
    await refused('opaque', /three base64url parts/)
    await refused(`${head}.${body}.${signature.replaceAll('-', '+').replaceAll('_', '/')}+`, /three base64url parts/)
    // 256 bytes of signature leave four bits of the last character unused.
    const last = signature.at(-1) ?? ''
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const other = alphabet[alphabet.indexOf(last) ^ 1]
    await refused(`${head}.${body}.${signature.slice(0, -1)}${other}`, /three base64url parts/)
  })

  it('more than 8 KiB', async () => {
    await refused(await sign(rsa, claims({ pad: 'x'.repeat(8192) })), /longer than 8 KiB/)
  })

  it('an encrypted one', async () => {
    const jwe = await new CompactEncrypt(Buffer.from(JSON.stringify(claims())))
      .setProtectedHeader({ alg: 'dir', enc: 'A256GCM' })
      .encrypt(randomBytes(32))
    await refused(jwe, /JWE/)
  })

  it('a token nested in another', async () => {
    const inner = await sign(rsa, claims())
    await refused(await sign(rsa, inner, { cty: 'JWT' }), /payload/)
  })
})

describe('what is no token', () => {
  it('takes whom a session has proved for whom it proved', async () => {
    const principal = await identify(await sign(rsa, claims()))
    if ('refused' in principal) throw new Error(principal.detail)
    expect(await agents.identify({ token: null, proven: principal })).toBe(principal)
  })

  it('is refused without an error code if nothing was presented (RFC 6750, section 3.1)', async () => {
    expect(await agents.identify({ token: null, problem: null })).toMatchObject({
      code: 'unauthenticated',
      challenge: { error: null, description: expect.stringMatching(/no token/) },
    })
  })

  it('is refused as invalid_request if it was presented in a way that is not read', async () => {
    const problem = 'two "Authorization" headers\r\nX: y'
    expect(await agents.identify({ token: null, problem })).toMatchObject({
      code: 'unauthenticated',
      challenge: { error: 'invalid_request', description: 'two  Authorization  headers  X: y' },
    })
  })

  it('counts by reason, in fixed words', async () => {
    metrics.reasons.length = 0
    await agents.identify({ token: null, problem: null })
    await identify('opaque')
    await identify(await sign(rsa, claims()))
    expect(metrics.reasons).toEqual(['missing', 'not_a_jws'])
  })
})

describe('an issuer that sets typ', () => {
  it('has tokens of that type only, whatever its spelling', async () => {
    const strict = makeAgents({
      issuers: [{ issuer: issuer.url, audiences: [GATEWAY], owner: 'none', typ: 'at+jwt' }],
      clock,
    })
    for (const typ of ['at+jwt', 'AT+JWT', 'application/at+jwt']) {
      expect(await strict.identify(bearer(await sign(rsa, claims(), { typ })))).toMatchObject({
        subject: 'support-agent',
      })
    }
    for (const typ of ['JWT', undefined, 'x/at+jwt']) {
      const refusal = await strict.identify(bearer(await sign(rsa, claims(), { typ })))
      expect(refusal).toMatchObject({ challenge: { description: expect.stringMatching(/typ/) } })
    }
    await strict.close()
  })
})

describe('an issuer without delegation', () => {
  it('has no token with an actor: it would be taken for the subject', async () => {
    const plain = makeAgents({ issuers: [{ issuer: issuer.url, audiences: [GATEWAY], owner: 'none' }], clock })
    const refusal = await plain.identify(bearer(await sign(rsa, claims({ act: { sub: 'agent' } }))))
    expect(refusal).toMatchObject({ challenge: { description: expect.stringMatching(/delegation/) } })
    await plain.close()
  })
})
