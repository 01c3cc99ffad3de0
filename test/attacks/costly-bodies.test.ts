import { afterEach, describe, expect, it } from 'vitest'
import { refuse } from '../../src/domain/refusal.ts'
import { createAllowance } from '../../src/policy/allowance.ts'
import { rateOptions } from '../../src/policy/options.ts'
import type { HttpParts } from '../../src/protocols/http/serve.ts'
import {
  AGENT,
  ALLOWED,
  allow,
  allowRead,
  type Judge,
  startGateway,
  type TestGateway,
} from '../protocols/http/gateway.ts'
import { startRawUpstream } from '../transports/raw.ts'

/** To parse a body stops everybody else. One agent sends many, as large as they may be. */

const KIB = 1024
const cleanups: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function start(judge: Judge, charge: HttpParts['charge']) {
  const upstream = await startRawUpstream()
  const gateway = await startGateway(judge, [{ url: upstream.url, max_body: '1MiB' }], { charge })
  cleanups.push(upstream.close, gateway.close)
  return { gateway, upstream }
}

function post({ url }: TestGateway, body: string, type = 'application/json'): Promise<Response> {
  const headers = { authorization: 'Bearer agents-own.token.value', 'content-type': type }
  return fetch(`${url}/billing/x`, { method: 'POST', headers, body })
}

/** Notes what is to be parsed, and has it parsed. */
function noting() {
  const charged: number[] = []
  const charge: HttpParts['charge'] = (principal, bytes) => {
    expect(principal).toBe(AGENT)
    charged.push(bytes)
    return null
  }
  return { charged, charge }
}

describe('a body', () => {
  it.each<[string, Judge, string, string]>([
    ['that a rule reads', allowRead, '{"a":1}', 'application/json'],
    ['of a form, which is always read', allow, 'a=1&b=2', 'application/x-www-form-urlencoded'],
  ])('%s is charged for once, by its bytes', async (_what, judge, body, type) => {
    const { charged, charge } = noting()
    const { gateway } = await start(judge, charge)
    expect((await post(gateway, body, type)).status).toBe(200)
    expect(charged).toEqual([body.length])
  })

  it('that is held is charged for once', async () => {
    const { charged, charge } = noting()
    const hold: Judge = async (call, _actions, release) => {
      const sealed = await call.seal(ALLOWED)
      if ('refused' in sealed) return call.refuse(sealed)
      await call.present({})
      await call.adopt(sealed.stored)
      return release()
    }
    const { gateway } = await start(hold, charge)
    expect((await post(gateway, '{"a":1}')).status).toBe(200)
    expect(charged).toEqual([7])
  })

  it.each([10, 200 * KIB])('of %i bytes that nothing reads costs nothing', async (bytes) => {
    const { charged, charge } = noting()
    const { gateway } = await start(allow, charge)
    expect((await post(gateway, JSON.stringify('a'.repeat(bytes)))).status).toBe(200)
    expect(charged).toEqual([])
  })

  it('that is too much for its agent is refused before it is parsed', async () => {
    const tooMuch = refuse('rate_limited', 'Not executed. Too much.', { retryAfterS: 3 })
    const { gateway, upstream } = await start(allowRead, () => tooMuch)
    // What is parsed would be found malformed.
    const response = await post(gateway, '{"a":1,"a":2}')
    expect([response.status, response.headers.get('retry-after')]).toEqual([429, '3'])
    expect(await response.json()).toMatchObject({ code: 'rate_limited' })
    expect(upstream.seen).toEqual([])
  })
})

it('twenty connections have no more parsed than one agent’s rate pays for', async () => {
  const clock = { at: 0, monotonic: () => clock.at }
  const allowance = createAllowance({ options: rateOptions.parse({}), clock })
  const { gateway } = await start(allowRead, allowance.charge)
  const body = JSON.stringify('a'.repeat(650 * KIB))
  const sendAll = async () => {
    const answers = await Promise.all(Array.from({ length: 20 }, () => post(gateway, body)))
    return answers.filter(({ status }) => status === 200).length
  }
  expect(await sendAll()).toBe(2)
  expect((await post(gateway, '{"a":1}')).status).toBe(200)
  clock.at += 1000
  expect(await sendAll()).toBe(2)
})
