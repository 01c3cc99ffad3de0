import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startIdentityProvider } from '../../src/demo/identity-provider.ts'
import type { Narrator } from '../../src/demo/narrator.ts'
import { playStory, StoryFailure } from '../../src/demo/story.ts'
import { type DemoUpstream, startUpstream } from '../../src/demo/upstream.ts'

const silent: Narrator = {
  chapter() {},
  line() {},
  proof() {},
  literal() {},
  note() {},
  quote() {},
  failure() {},
}

let upstream: DemoUpstream
beforeAll(async () => {
  upstream = await startUpstream({ token: 'billing-token', host: '127.0.0.1', port: 0 })
})
afterAll(async () => {
  await upstream.close()
})

describe('the story, in front of a gateway that does not do its job', () => {
  it.each([
    ['forwards what policy denies', { refuses: [], isAsserting: true }, /does not: Nothing arrived upstream/],
    ['does not say to the upstream who calls', { refuses: ['DELETE'], isAsserting: false }, /signed note of who calls/],
    [
      'forwards what should be held',
      { refuses: ['DELETE'], isAsserting: true },
      /should be held, and is answered with 201/,
    ],
  ])('fails if it %s', async (_name, fault, message) => {
    const gateway = await startFaulty(fault)
    const { url: gatewayUrl } = gateway
    const provider = await startIdentityProvider({ host: '127.0.0.1', port: 0, gatewayUrl, controlUrl: gatewayUrl })
    const story = playStory(
      {
        gatewayUrl,
        controlUrl: gatewayUrl,
        issuer: provider.issuer,
        upstreamUrl: upstream.url,
        agentSecret: provider.agentSecret,
      },
      { tell: silent, decider: { isScripted: true, decide: async () => {} }, signal: AbortSignal.timeout(10_000) },
    )
    await expect(story).rejects.toThrow(StoryFailure)
    await expect(story).rejects.toThrow(message)
    await provider.close()
    gateway.server.close()
    gateway.server.closeAllConnections()
  })
})

/** Passes every call on with the upstream's credential, but for some methods; nobody has any approval to look at. */
async function startFaulty({
  refuses,
  isAsserting,
}: {
  refuses: readonly string[]
  isAsserting: boolean
}): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    const { method = 'GET', url = '/' } = request
    const answer = (status: number, type: string, body: string) =>
      response.writeHead(status, { 'content-type': type }).end(body)
    if (url.startsWith('/v1/')) return answer(200, 'application/json', '{"approvals":[],"next":null,"notices":[]}')
    if (refuses.includes(method)) {
      const problem = { type: 'about:blank', title: 'No', status: 403, code: 'denied', detail: 'Not executed.' }
      return answer(403, 'application/problem+json', JSON.stringify(problem))
    }
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const headers = {
        authorization: 'Bearer billing-token',
        ...(isAsserting && { 'countersign-assertion': 'a signed note' }),
      }
      const body = chunks.length > 0 ? { body: Buffer.concat(chunks) } : {}
      void fetch(upstream.url + url.replace(/^\/billing/, ''), { method, headers, ...body }).then(async (got) =>
        answer(got.status, 'application/json', await got.text()),
      )
    })
    return response
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo // it listens on TCP
  return { url: `http://127.0.0.1:${port}`, server }
}
