import { Agent, request } from 'node:http'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { createGatewayServer } from '../../src/transports/http/server.ts'

describe('the end of the gateway listener', () => {
  it('waits for the answer under way, and not for its client to let go of the connection', async () => {
    const server = createGatewayServer({
      host: '127.0.0.1',
      port: 0,
      tls: null,
      isBehindTlsProxy: false,
      log: pino({ level: 'silent' }),
      onMalformed: () => undefined,
    })
    const arrived = Promise.withResolvers<void>()
    const mayAnswer = Promise.withResolvers<void>()
    server.app.get('/slow', async (_request, reply) => {
      // As calls are answered: past the framework, which would end the connection itself.
      reply.hijack()
      arrived.resolve()
      await mayAnswer.promise
      reply.raw.end('done')
    })
    const { port } = await server.listen()
    // The client would use it again.
    const agent = new Agent({ keepAlive: true })
    const answered = new Promise<string>((resolve, reject) => {
      const sent = request({ port, host: '127.0.0.1', path: '/slow', agent }, (response) => {
        response.setEncoding('utf8').on('data', resolve)
      })
      sent.on('error', reject).end()
    })
    await arrived.promise
    const closed = server.close(60_000)
    mayAnswer.resolve()
    expect(await answered).toBe('done')
    await closed
    agent.destroy()
  }, 5_000)
})
