import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { CompactSign, type CryptoKey, exportJWK, generateKeyPair, type JWK } from 'jose'

/** A key of an issuer that exists in the test alone. */
export interface TestKey {
  readonly kid: string
  readonly alg: string
  readonly privateKey: CryptoKey
  readonly jwk: JWK
}

export async function makeKey(alg: string, kid: string): Promise<TestKey> {
  const { publicKey, privateKey } = await generateKeyPair(alg)
  return { kid, alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

/** Signs exactly this header and payload; strings are signed as they are. */
export async function sign(
  key: TestKey,
  claims: Readonly<Record<string, unknown>> | string,
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const payload = new TextEncoder().encode(typeof claims === 'string' ? claims : JSON.stringify(claims))
  return await new CompactSign(payload)
    .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: 'JWT', ...header })
    .sign(key.privateKey)
}

export interface TestIssuer {
  readonly url: string
  /** Requests for the discovery document, and for the key set. */
  readonly hits: { discovery: number; keys: number }
  /** What it publishes, and how it behaves; may be changed at any time. */
  keys: readonly JWK[]
  metadata: Readonly<Record<string, unknown>>
  mode: 'up' | 'error' | 'hang' | 'huge' | 'redirect' | 'garbage'
  close(): Promise<void>
}

/** An issuer on loopback that can be slow, down or hostile. */
export async function startIssuer(keys: readonly JWK[]): Promise<TestIssuer> {
  const server = createServer((request, response) => answer(issuer, request.url ?? '', response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const issuer: TestIssuer = {
    url: `http://127.0.0.1:${port}`,
    hits: { discovery: 0, keys: 0 },
    keys,
    metadata: {},
    mode: 'up',
    close: () => closeServer(server),
  }
  return issuer
}

function answer(issuer: TestIssuer, path: string, response: ServerResponse): void {
  const isDiscovery = path === '/.well-known/openid-configuration'
  issuer.hits[isDiscovery ? 'discovery' : 'keys'] += 1
  if (issuer.mode === 'hang') return
  if (issuer.mode === 'error') return void response.writeHead(500).end()
  if (issuer.mode === 'redirect') return void response.writeHead(302, { location: `${issuer.url}/elsewhere` }).end()
  response.writeHead(200, { 'content-type': 'application/json' })
  if (issuer.mode === 'huge') return void response.end(`{"keys":["${'x'.repeat(1024 * 1024)}"]}`)
  if (issuer.mode === 'garbage') return void response.end('<html>')
  const metadata = { issuer: issuer.url, jwks_uri: `${issuer.url}/keys`, ...issuer.metadata }
  response.end(JSON.stringify(isDiscovery ? metadata : { keys: issuer.keys }))
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}
