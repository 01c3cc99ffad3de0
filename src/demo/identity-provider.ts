import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair } from 'jose'
import Provider from 'oidc-provider'
import { isPersonName } from './company.ts'
import { signInPage } from './pages.ts'
import { type ProviderParts, providerSettings } from './provider-settings.ts'

export interface DemoIdentityProvider {
  readonly issuer: string
  readonly agentSecret: string
  close(): Promise<void>
}

/** Seconds between two questions of a client whether somebody has signed in; five where a provider does not say. */
const POLL_INTERVAL_S = 1

/**
 * A real OpenID provider with three people, one agent, and a sign-in page where one says who one is: no passwords,
 * since it is reachable from this machine only. Its issuer is on 127.0.0.1 whatever it listens on, so that it is the
 * same for a browser and for the gateway.
 */
export async function startIdentityProvider(
  where: Pick<ProviderParts, 'gatewayUrl' | 'controlUrl'> & { host: string; port: number; agentSecret?: string },
): Promise<DemoIdentityProvider> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(where.port, where.host, resolve)
  })
  // A server that listens on TCP has an address with a port.
  const { port } = server.address() as AddressInfo
  const issuer = `http://127.0.0.1:${port}`
  const agentSecret = where.agentSecret ?? randomBytes(24).toString('base64url')
  const { privateKey } = await generateKeyPair('ES256', { extractable: true })
  const signingKey = { ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig' }
  const provider = new Provider(issuer, providerSettings({ ...where, issuer, agentSecret, signingKey }))
  provider.use(async (context, next) => {
    await next()
    const { body, path, status } = context
    if (path === '/device/auth' && status === 200 && typeof body === 'object' && body !== null) {
      context.body = { ...body, interval: POLL_INTERVAL_S }
    }
  })
  const answer = provider.callback()
  server.on('request', (request, response) => {
    serveSignIn(provider, request, response)
      .then((isServed) => (isServed ? undefined : answer(request, response)))
      .catch(() => response.destroy())
  })
  return {
    issuer,
    agentSecret,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** The sign-in page: GET shows who there is, POST says who one is. False for every other page. */
async function serveSignIn(provider: Provider, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
  const { pathname, searchParams } = new URL(request.url ?? '', 'http://localhost')
  if (!/^\/sign-in\/[\w-]+$/.test(pathname)) return false
  const accountId = searchParams.get('as')
  if (request.method === 'POST' && isPersonName(accountId)) {
    await provider.interactionFinished(request, response, { login: { accountId } }, { mergeWithLastSubmission: false })
    return true
  }
  response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(signInPage(pathname))
  return true
}
