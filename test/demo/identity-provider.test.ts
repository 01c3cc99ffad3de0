import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { decodeJwt } from 'jose'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { type Browser, startBrowser } from '../../src/demo/browser.ts'
import { CONSOLE, READER } from '../../src/demo/company.ts'
import { type DemoIdentityProvider, startIdentityProvider } from '../../src/demo/identity-provider.ts'
import { signIn } from '../../src/demo/sign-in.ts'
import { start } from './process.ts'

const CONTROL = 'http://127.0.0.1:1'
const GATEWAY = 'http://127.0.0.1:2'

let provider: DemoIdentityProvider
beforeAll(async () => {
  provider = await startIdentityProvider({ host: '127.0.0.1', port: 0, gatewayUrl: GATEWAY, controlUrl: CONTROL })
})
afterAll(() => provider.close())

it('gives an agent a token for the gateway, with its owner', async () => {
  const response = await token({ grant_type: 'client_credentials' }, `support-agent:${provider.agentSecret}`)
  const claims = decodeJwt((await readJson(response, tokenSchema)).access_token)
  expect(claims).toMatchObject({ aud: GATEWAY, sub: 'support-agent', owner: `${provider.issuer}|olivia` })
})

it('says how an agent gets a token, in a line that keeps it', async () => {
  const main = fileURLToPath(new URL('../../src/demo/main.ts', import.meta.url))
  const running = start(process.execPath, [main, 'identity-provider', '--listen', '127.0.0.1:0'], '.')
  try {
    const [, line = ''] = await running.says(/^ *(AGENT_TOKEN=.*)$/m)
    const { stdout } = await promisify(execFile)('sh', ['-c', `${line}; printf %s "$AGENT_TOKEN"`])
    expect(decodeJwt(stdout)).toMatchObject({ sub: 'support-agent' })
  } finally {
    await running.end()
  }
})

it('refuses an agent with another secret', async () => {
  expect((await token({ grant_type: 'client_credentials' }, 'support-agent:guessed')).status).toBe(401)
})

it('gives a person a token for the control listener, through the client for votes', async () => {
  const where = { issuer: provider.issuer, controlUrl: CONTROL, signal: AbortSignal.timeout(10_000) }
  const claims = decodeJwt(await signIn('finn', where))
  expect(claims).toMatchObject({ aud: CONSOLE, client_id: CONSOLE, sub: 'finn', groups: ['finance'] })
  expect(Math.abs(Number(claims['auth_time']) - Date.now() / 1000)).toBeLessThan(30)
})

it('asks in the same browser who one is each time, and believes the last answer', async () => {
  const browser = startBrowser(AbortSignal.timeout(10_000))
  expect(await signInAt(browser, 'olivia')).toMatchObject({ sub: 'olivia', client_id: READER })
  expect(await signInAt(browser, 'finn')).toMatchObject({ sub: 'finn', client_id: READER })
})

it('gives a command line that names no resource a token for the control listener, too', async () => {
  const browser = startBrowser(AbortSignal.timeout(10_000))
  expect(await signInAt(browser, 'finn', {})).toMatchObject({ aud: CONSOLE, sub: 'finn', client_id: READER })
})

async function signInAt(browser: Browser, who: string, target: { resource?: string } = { resource: CONTROL }) {
  const form = new URLSearchParams({ client_id: READER, scope: 'openid', ...target })
  const pending = await readJson(
    await fetch(`${provider.issuer}/device/auth`, { method: 'POST', body: form }),
    pendingSchema,
  )
  const asked = await browser.submit(await browser.submit(await browser.open(pending.verification_uri_complete)))
  expect(asked.text).toContain('Who are you?')
  let page = await browser.submit(asked, `as=${who}"`)
  // Somebody else's session ends by a form that a browser sends by itself.
  while (page.text.includes('document.forms[0].submit()')) page = await browser.submit(page)
  expect(page.text).toContain('You are signed in.')
  const grant_type = 'urn:ietf:params:oauth:grant-type:device_code'
  const response = await token({ grant_type, device_code: pending.device_code, client_id: READER, ...target })
  return decodeJwt((await readJson(response, tokenSchema)).access_token)
}

const tokenSchema = z.object({ access_token: z.string() })
const pendingSchema = z.object({ device_code: z.string(), verification_uri_complete: z.url() })

async function readJson<T>(response: Response, schema: z.ZodType<T>): Promise<T> {
  return schema.parse(await response.json())
}

function token(form: Record<string, string>, credentials?: string): Promise<Response> {
  return fetch(`${provider.issuer}/token`, {
    method: 'POST',
    ...(credentials !== undefined && {
      headers: { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` },
    }),
    body: new URLSearchParams(form),
  })
}
