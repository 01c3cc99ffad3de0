import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { ACCESS, type EndpointName } from './access.ts'
import type { Authenticate, Caller } from './authenticate.ts'
import { type Asked, ENDPOINTS, type Endpoint } from './endpoints.ts'
import { ControlProblem } from './problem.ts'

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
    onRequest: async (request) => {
      if (access.roles !== null) callers.set(request, await how.authenticate(request, access))
    },
    handler: async (request) => {
      const parsed = readRequest(ENDPOINTS[how.name], request)
      // Parsed by the very schemas that `Asked` is made of; an endpoint that is open to anyone takes no caller.
      return how.handle({ ...callers.get(request), ...parsed } as Asked<Name>)
    },
  })
}

function readRequest({ params, query, body }: Endpoint, request: FastifyRequest) {
  return {
    params: params && read(params, request.params, 'path'),
    query: read(query ?? z.strictObject({}), request.query, 'query'),
    body: body && read(body, request.body ?? {}, 'body'),
  }
}

function read(schema: z.ZodObject, value: unknown, where: string): unknown {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  // An id that cannot be one is not there.
  if (where === 'path') throw new ControlProblem('not_found', 'There is nothing here.')
  const at = issue && issue.path.length > 0 ? `${issue.path.join('.')}: ` : ''
  throw new ControlProblem('malformed', `In the ${where}: ${at}${issue?.message ?? 'not as documented'}.`)
}
