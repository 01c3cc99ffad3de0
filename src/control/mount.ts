import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { ACCESS, type EndpointName } from './access.ts'
import type { Authenticate, Caller } from './authenticate.ts'
import { type Asked, ENDPOINTS, type Endpoint } from './endpoints.ts'
import { answer } from './faults.ts'
import { type ControlRefusal, FAULT_DETAILS, isControlRefusal, refuseAs } from './problem.ts'

/** Puts an endpoint on the listener: who it is for is checked before its body is read, what was sent before it runs. */
export function mountEndpoint<Name extends EndpointName>(
  app: FastifyInstance,
  how: { name: Name; authenticate: Authenticate; handle: (asked: Asked<Name>) => Promise<object> },
): void {
  const [method = '', url = ''] = how.name.split(' ')
  const access = ACCESS[how.name]
  const callers = new WeakMap<FastifyRequest, Caller>()
  app.route({
    method,
    url,
    onRequest: async (request, reply) => {
      if (access.roles === null) return
      const caller = await how.authenticate(request, access)
      if (isControlRefusal(caller)) return answer(reply, caller)
      callers.set(request, caller)
    },
    handler: async (request, reply) => {
      const parsed = readRequest(ENDPOINTS[how.name], request)
      if (isControlRefusal(parsed)) return answer(reply, parsed)
      // Parsed by the very schemas that `Asked` is made of; an endpoint that is open to anyone takes no caller.
      const result = await how.handle({ ...callers.get(request), ...parsed } as Asked<Name>)
      return isControlRefusal(result) ? answer(reply, result) : result
    },
  })
}

/** What was sent, by part; a part that the endpoint does not have stays undefined. */
function readRequest(endpoint: Endpoint, request: FastifyRequest): Record<string, unknown> | ControlRefusal {
  const parts = [
    ['params', endpoint.params, request.params],
    ['query', endpoint.query ?? z.strictObject({}), request.query],
    ['body', endpoint.body, request.body],
  ] as const
  const read: Record<string, unknown> = {}
  for (const [part, schema, value] of parts) {
    if (!schema) continue
    const result = schema.safeParse(value)
    if (!result.success) return explain(part, result.error)
    read[part] = result.data
  }
  return read
}

function explain(part: 'params' | 'query' | 'body', { issues: [issue] }: z.ZodError): ControlRefusal {
  // An id that cannot be one is not there.
  if (part === 'params') return refuseAs('not_found', FAULT_DETAILS.not_found)
  const at = issue && issue.path.length > 0 ? `${issue.path.join('.')}: ` : ''
  return refuseAs('malformed', `In the ${part}: ${at}${issue?.message ?? 'not as documented'}.`)
}
