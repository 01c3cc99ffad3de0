import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair } from 'jose'
import Provider from 'oidc-provider'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bearer, makeAgents } from './parts.ts'

const GATEWAY = 'https://gateway.example.com'
const OTHER = 'https://other.example.com'

let server: Server
let url: string

/** A real OpenID provider with one client that gets tokens for itself. */
beforeAll(async () => {
  server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  url = `http://127.0.0.1:${port}`
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const provider = new Provider(url, {
    clients: [
      {
        client_id: 'support-agent',
        client_secret: 'a secret of this test',
        id_token_signed_response_alg: 'ES256',
        grant_types: ['client_credentials'],
        redirect_uris: [],
        response_types: [],
      },
    ],
    jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig' }] },
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context, resource) => ({
          audience: resource,
          scope: '',
          accessTokenFormat: 'jwt' as const,
          accessTokenTTL: 600,
          jwt: { sign: { alg: 'ES256' as const } },
        }),
      },
    },
    extraTokenClaims: () => ({ groups: ['support-agents'], owner: `${url}|olivia` }),
  })
  const handle = provider.callback()
  server.on('request', (request, response) => void handle(request, response))
})

afterAll(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

async function fetchToken(resource: string): Promise<string> {
  const response = await fetch(`${url}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa('support-agent:a+secret+of+this+test')}` },
    body: new URLSearchParams({ grant_type: 'client_credentials', resource }),
  })
  const body = (await response.json()) as { access_token?: string }
  return body.access_token ?? expect.fail(JSON.stringify(body))
}

describe('a token of oidc-provider by client credentials', () => {
  const make = () =>
    makeAgents({
      issuers: [
        {
          issuer: url,
          audiences: [GATEWAY],
          algorithms: ['ES256'],
          groups: { claim: 'groups' },
          owner: { claim: 'owner' },
          typ: 'at+jwt',
        },
      ],
      clock: { now: Date.now, monotonic: () => performance.now() },
    })

  it('identifies the client, its owner and its groups', async () => {
    const agents = make()
    expect(await agents.probe()).toEqual([])
    expect(await agents.identify(bearer(await fetchToken(GATEWAY)))).toMatchObject({
      issuer: url,
      subject: 'support-agent',
      client: 'support-agent',
      owner: { issuer: url, subject: 'olivia' },
      groups: [{ name: 'support-agents' }],
      onBehalfOf: null,
    })
    await agents.close()
  })

  it('is refused if it is for another resource', async () => {
    const agents = make()
    const refusal = await agents.identify(bearer(await fetchToken(OTHER)))
    expect(refusal).toMatchObject({ challenge: { description: expect.stringMatching(/another audience/) } })
    await agents.close()
  })
})
