// The peer that Countersign is built on: @fastify/http-proxy and nothing else. No identity, no policy, no record.
import type { AddressInfo } from 'node:net'
import httpProxy from '@fastify/http-proxy'
import Fastify from 'fastify'

const [upstream = ''] = process.argv.slice(2)
const app = Fastify({ logger: false })
await app.register(httpProxy, { prefix: '/billing', upstream })
await app.listen({ host: '127.0.0.1', port: 0 })
// A server that listens on TCP has an address with a port.
process.stdout.write(`${(app.server.address() as AddressInfo).port}\n`)
process.once('SIGTERM', () => process.exit(0))
