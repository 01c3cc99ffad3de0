import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startWhole, type WholeWorld } from '../browser/world.ts'
import { fieldOf, openBrowser } from './browser.ts'

let world: WholeWorld
beforeAll(async () => {
  world = await startWhole()
})
afterAll(() => world?.[Symbol.asyncDispose]())

/** Finn, in front of an approval that is held now. */
async function standBefore(path: string) {
  const id = await world.abandon(world.gateway, path)
  const browser = openBrowser()
  const asked = await browser.get(`${world.base}/approvals/${id}`)
  const { text } = await browser.post(`${asked.url.href}?as=finn`, {})
  const form = { csrf: fieldOf(text, 'csrf'), card_hash: fieldOf(text, 'card_hash'), reason: 'because' }
  const cookie = `countersign=${browser.cookies(world.base).get('countersign')}`
  return { id, browser, form, cookie }
}

const stateOf = async (id: string) => {
  const { rows } = await world.admin.query('SELECT state FROM countersign.approval WHERE id = $1', [id])
  return rows[0]?.state
}

describe('the listener for agents', () => {
  it('counts no vote, whatever is brought along', async () => {
    const { id, form, cookie } = await standBefore('/refunds/elsewhere')
    const person = await world.personToken('finn')
    const agent = await world.agentToken()
    const paths = ['approve', 'deny'].flatMap((decision) => [
      `/approvals/${id}/${decision}`,
      `/v1/approvals/${id}/${decision}`,
      `/.countersign/approvals/${id}/${decision}`,
      `/.countersign/v1/approvals/${id}/${decision}`,
    ])
    for (const path of [...paths, '/sign-in', '/live', '/']) {
      for (const token of [null, person, agent]) {
        const headers = { cookie, origin: world.base, ...(token !== null && { authorization: `Bearer ${token}` }) }
        for (const body of [new URLSearchParams(form), JSON.stringify({ card_hash: form.card_hash })]) {
          const { status } = await fetch(world.gateway.url + path, {
            method: 'POST',
            headers,
            body,
            redirect: 'manual',
          })
          expect(status, path).toBeGreaterThanOrEqual(400)
        }
      }
    }
    expect(await stateOf(id)).toBe('pending')
  })
})

describe('the console', () => {
  it('takes an agent for nobody, by its token or by its token as a cookie', async () => {
    const { id, form } = await standBefore('/refunds/agent')
    const token = await world.agentToken()
    for (const headers of [{ authorization: `Bearer ${token}` }, { cookie: `countersign=${token}` }]) {
      const seen = await fetch(`${world.base}/approvals/${id}`, { headers, redirect: 'manual' })
      expect([seen.status, seen.headers.get('location')]).toEqual([303, expect.stringMatching(/^\/sign-in\?/)])
      const voted = await fetch(`${world.base}/approvals/${id}/approve`, {
        method: 'POST',
        headers: { ...headers, origin: world.base },
        body: new URLSearchParams(form),
      })
      expect(voted.status).toBe(401)
    }
    expect(await stateOf(id)).toBe('pending')
  })

  it('takes the vote of a person, once, and says how in the audit log', async () => {
    const { id, browser, form } = await standBefore('/refunds/once')
    const approve = () => browser.post(`${world.base}/approvals/${id}/approve`, form)
    // Two at once: a button that was pressed twice.
    await Promise.all([approve(), approve()])
    expect(await stateOf(id)).toBe('approved')
    const { rows } = await world.admin.query(
      `SELECT convert_from(body, 'UTF8') AS body FROM countersign.audit_log WHERE approval_id = $1 AND kind = 'vote'`,
      [id],
    )
    expect(rows).toEqual([{ body: expect.stringContaining('"via":"console"') }])
  })
})
