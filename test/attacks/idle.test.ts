import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { allow, startGateway, type TestGateway } from '../protocols/http/gateway.ts'
import { connectRaw, statusOf } from '../transports/raw.ts'

/** Whoever is not known yet is not waited for. */
describe('a body that never comes, for a path of the gateway itself', () => {
  let gateway: TestGateway
  beforeAll(async () => {
    gateway = await startGateway(allow, [{ url: 'http://127.0.0.1:1' }])
  })
  afterAll(() => gateway.close())

  it.each([
    ['POST', '/nowhere', 'application/json'],
    ['PUT', '/nowhere/else', 'text/plain'],
    ['POST', '/nowhere', 'no-media-type'],
    ['DELETE', '/', 'application/octet-stream'],
  ])('is not waited for: %s %s, %s', async (method, path, type) => {
    const client = connectRaw(gateway.port)
    client.send(`${method} ${path} HTTP/1.1\r\nHost: a\r\nContent-Type: ${type}\r\nContent-Length: 100\r\n\r\n{`)
    const answer = await client.until((text) => text.includes('\r\n\r\n'))
    client.socket.destroy()
    expect([400, 404]).toContain(statusOf(answer))
  })
})
