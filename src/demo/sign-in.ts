import { z } from 'zod'
import { startBrowser } from './browser.ts'
import { CONSOLE, type PersonName } from './company.ts'

const TIMEOUT_MS = 10_000
const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'

const discoverySchema = z.object({ device_authorization_endpoint: z.url(), token_endpoint: z.url() })
const pendingSchema = z.object({ device_code: z.string(), verification_uri_complete: z.url() })
const tokenSchema = z.object({ access_token: z.string() })

/** Signs one of the demo's people in as they would: a device flow (RFC 8628), its pages, and who they say they are. */
export async function signIn(
  person: PersonName,
  where: { issuer: string; controlUrl: string; signal: AbortSignal },
): Promise<string> {
  const { issuer, controlUrl: resource, signal } = where

  async function ask<T>(url: string, form: Record<string, string> | null, schema: z.ZodType<T>): Promise<T> {
    const response = await fetch(url, {
      ...(form && { method: 'POST', body: new URLSearchParams(form) }),
      signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    })
    if (!response.ok) throw new Error(`${url} answers ${response.status}: ${await response.text()}`)
    return schema.parse(await response.json())
  }

  const provider = await ask(`${issuer}/.well-known/openid-configuration`, null, discoverySchema)
  const wish = { client_id: CONSOLE, scope: 'openid', resource }
  const pending = await ask(provider.device_authorization_endpoint, wish, pendingSchema)

  const browser = startBrowser(signal)
  const codePage = await browser.open(pending.verification_uri_complete)
  const confirmPage = await browser.submit(codePage)
  const whoPage = await browser.submit(confirmPage)
  // Each person is a form of their own.
  await browser.submit(whoPage, `as=${person}"`)

  const grant = { client_id: CONSOLE, grant_type: DEVICE_GRANT, device_code: pending.device_code, resource }
  return (await ask(provider.token_endpoint, grant, tokenSchema)).access_token
}
