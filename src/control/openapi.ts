import { z } from 'zod'
import { ACCESS, type EndpointName } from './access.ts'
import {
  delegatedSchema,
  delegatingSchema,
  delegationSchema,
  delegationsSchema,
  endedSchema,
  endingSchema,
} from './delegation-wire.ts'
import { ENDPOINTS, type Endpoint } from './endpoints.ts'
import { CONTROL_CODES, type ControlCode } from './problem.ts'
import { askingSchema, questionSchema } from './question-wire.ts'
import {
  agentSchema,
  agentsSchema,
  approvalSchema,
  approvingSchema,
  askedSchema,
  ballotSchema,
  cardSchema,
  claimedSchema,
  claimingSchema,
  exactCallSchema,
  grantAskSchema,
  grantSchema,
  grantsSchema,
  listedSchema,
  noticeSchema,
  openapiSchema,
  overridingSchema,
  partySchema,
  problemSchema,
  revokedSchema,
  revokingSchema,
  shownSchema,
  signInSchema,
  switchedSchema,
  switchSchema,
  votedSchema,
  voteSchema,
  whoamiSchema,
} from './wire.ts'

type Schema = Record<string, unknown>

const EVERYWHERE = ['malformed', 'internal'] as const
const SIGNED_IN = ['unauthenticated', 'forbidden', 'rate_limited', 'unavailable'] as const

/** What has a name of its own in the document. */
const NAMED = {
  Agent: agentSchema,
  Agents: agentsSchema,
  Approval: approvalSchema,
  Approving: approvingSchema,
  Asked: askedSchema,
  Asking: askingSchema,
  Ballot: ballotSchema,
  Card: cardSchema,
  Claimed: claimedSchema,
  Claiming: claimingSchema,
  Delegated: delegatedSchema,
  Delegating: delegatingSchema,
  Delegation: delegationSchema,
  Delegations: delegationsSchema,
  Ended: endedSchema,
  Ending: endingSchema,
  ExactCall: exactCallSchema,
  Grant: grantSchema,
  GrantAsk: grantAskSchema,
  Grants: grantsSchema,
  Listed: listedSchema,
  Notice: noticeSchema,
  OpenApi: openapiSchema,
  Overriding: overridingSchema,
  Party: partySchema,
  Problem: problemSchema,
  Question: questionSchema,
  Revoked: revokedSchema,
  Revoking: revokingSchema,
  Shown: shownSchema,
  SignIn: signInSchema,
  Switch: switchSchema,
  Switched: switchedSchema,
  Vote: voteSchema,
  Voted: votedSchema,
  Whoami: whoamiSchema,
} as const satisfies Record<string, z.ZodType>

/** The API as an OpenAPI 3.1 document, made of the schemas that requests are checked by. */
export function describeApi(server: { publicUrl: string | null }): Schema {
  const paths: Record<string, Schema> = {}
  for (const name of typedKeys(ENDPOINTS)) {
    const [method = '', path = ''] = name.split(' ')
    const at = path.replaceAll(/:(\w+)/g, '{$1}')
    paths[at] = { ...paths[at], [method.toLowerCase()]: describeEndpoint(name, ENDPOINTS[name]) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Countersign approver API',
      version: '1',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    ...(server.publicUrl !== null && { servers: [{ url: server.publicUrl }] }),
    paths,
    components: {
      schemas: describeNamed(),
      securitySchemes: {
        person: {
          type: 'http',
          scheme: 'bearer',
          description: 'An access token of a person; an agent’s token is refused, whatever groups it carries',
        },
      },
    },
  }
}

function describeNamed(): Schema {
  const registry = z.registry<{ id: string }>()
  for (const [id, schema] of Object.entries(NAMED)) registry.add(schema, { id })
  const { schemas } = z.toJSONSchema(registry, {
    uri: reference,
    io: 'input',
    override: ({ jsonSchema }) => simplify(jsonSchema),
  })
  return Object.fromEntries(Object.entries(schemas).map(([id, { $schema, $id, ...schema }]) => [id, schema]))
}

/** `format: date-time` says it; the pattern that zod adds fills half a page. */
function simplify(schema: Schema): void {
  if (schema['format'] === 'date-time') delete schema['pattern']
}

function describeEndpoint(name: EndpointName, endpoint: Endpoint): Schema {
  const { roles, use } = ACCESS[name]
  const codes: ControlCode[] = [...EVERYWHERE, ...(roles === null ? [] : SIGNED_IN), ...endpoint.codes]
  const who = roles === null ? 'Open to anyone.' : `For ${roles.join(', ')}.`
  return {
    operationId: operationId(name),
    summary: endpoint.summary,
    description: use === 'vote' ? `${who} The token has to be one that may vote.` : who,
    security: roles === null ? [] : [{ person: [] }],
    parameters: [...parametersOf(endpoint.params, 'path'), ...parametersOf(endpoint.query, 'query')],
    ...(endpoint.body && { requestBody: { required: true, content: jsonOf(endpoint.body) } }),
    responses: { 200: { description: 'Done', content: jsonOf(endpoint.response) }, ...problemsOf(codes) },
  }
}

function jsonOf(schema: z.ZodType): Schema {
  const id = typedKeys(NAMED).find((candidate) => NAMED[candidate] === schema)
  if (!id) throw new TypeError('a schema of an endpoint has no name')
  return { 'application/json': { schema: { $ref: reference(id) } } }
}

/** "GET /v1/approvals/:id" is `get_approvals_id`. */
function operationId(name: EndpointName): string {
  return name
    .toLowerCase()
    .replace(' /v1/', '_')
    .replaceAll(/[/:.-]+/g, '_')
}

function parametersOf(schema: z.ZodObject | undefined, where: 'path' | 'query'): Schema[] {
  if (!schema) return []
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' })
  return Object.entries(properties).map(([name, property]) => {
    return { name, in: where, required: where === 'path' || required.includes(name), schema: property }
  })
}

function problemsOf(codes: readonly ControlCode[]): Record<string, Schema> {
  const byStatus = Map.groupBy(codes, (code) => CONTROL_CODES[code][0])
  return Object.fromEntries(
    [...byStatus].map(([status, some]) => [
      String(status),
      {
        description: some.map((code) => `\`${code}\`: ${CONTROL_CODES[code][1]}`).join('; '),
        content: { 'application/problem+json': { schema: { $ref: reference('Problem') } } },
      },
    ]),
  )
}

function typedKeys<Key extends string>(record: Readonly<Record<Key, unknown>>): Key[] {
  // Object.keys forgets that the keys of a literal are known.
  return Object.keys(record) as Key[]
}

function reference(id: string): string {
  return `#/components/schemas/${id}`
}
