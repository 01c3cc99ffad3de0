import { METHODS } from 'node:http'
import type { Protocol, RunningProtocol } from '../../transports/protocol.ts'
import { httpFacts } from './facts.ts'
import { type HttpOptions, httpOptions } from './options.ts'
import type { HttpParts } from './serve.ts'

/** Any HTTP/1.1 API. */
export const http = {
  name: 'http',
  options: httpOptions,
  facts: httpFacts,
  verbs: [...METHODS.filter((method) => method !== 'CONNECT' && method !== 'TRACE'), 'UPGRADE'],
  start,
} as const satisfies Protocol<HttpOptions, HttpParts>

/** What speaks it takes longer to load than most commands to run: it is loaded by whoever serves. */
async function start(parts: HttpParts): Promise<RunningProtocol> {
  const { startHttp } = await import('./serve.ts')
  return startHttp(parts)
}
