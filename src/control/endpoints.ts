import { z } from 'zod'
import type { Person } from '../domain/principal.ts'
import type { EndpointName } from './access.ts'
import {
  delegatedSchema,
  delegatingSchema,
  delegationIdSchema,
  delegationsSchema,
  endedSchema,
  endingSchema,
} from './delegation-wire.ts'
import type { ControlCode } from './problem.ts'
import { askingSchema } from './question-wire.ts'
import {
  agentsSchema,
  approvalIdSchema,
  approvingSchema,
  askedSchema,
  ballotSchema,
  claimedSchema,
  claimingSchema,
  grantsSchema,
  listedSchema,
  listQuerySchema,
  openapiSchema,
  overridingSchema,
  revokedSchema,
  revokingSchema,
  shownSchema,
  signInSchema,
  switchedSchema,
  switchSchema,
  votedSchema,
  whoamiSchema,
} from './wire.ts'

/** What an endpoint takes and gives. */
export interface Endpoint {
  readonly summary: string
  readonly params?: z.ZodObject
  readonly query?: z.ZodObject
  readonly body?: z.ZodObject
  readonly response: z.ZodType
  /** The codes it answers with besides those that every endpoint has. */
  readonly codes: readonly ControlCode[]
}

const params = z.strictObject({ id: approvalIdSchema })
const VOTE_CODES = [
  'not_found',
  'read_only_token',
  'not_entitled',
  'self_approval',
  'outside_hours',
  'assurance_required',
  'superseded',
  'already_decided',
  'already_denied',
  'reason_required',
  'too_large',
  'unreadable',
] as const

const CLAIM_CODES = [
  'not_found',
  'read_only_token',
  'not_entitled',
  'self_approval',
  'already_decided',
  'too_large',
  'unreadable',
] as const

/** Every endpoint with its schemas: requests are checked by them, the OpenAPI document is made of them. */
export const ENDPOINTS = {
  'GET /v1/sign-in': {
    summary: 'Where and how a person signs in from the command line',
    response: signInSchema,
    codes: [],
  },
  'GET /v1/openapi.json': {
    summary: 'This document',
    response: openapiSchema,
    codes: [],
  },
  'GET /v1/whoami': { summary: 'Who the token says you are', response: whoamiSchema, codes: [] },
  'GET /v1/approvals': {
    summary: 'The approvals you may see',
    query: listQuerySchema,
    response: listedSchema,
    codes: [],
  },
  'GET /v1/approvals/:id': {
    summary: 'One approval, with its card and the exact call',
    params,
    response: shownSchema,
    codes: ['not_found'],
  },
  'POST /v1/approvals/:id/approve': {
    summary: 'Approve, on the card you saw',
    params,
    body: approvingSchema,
    response: votedSchema,
    codes: [...VOTE_CODES, 'grant_not_permitted'],
  },
  'POST /v1/approvals/:id/deny': {
    summary: 'Deny, on the card you saw',
    params,
    body: ballotSchema,
    response: votedSchema,
    codes: VOTE_CODES,
  },
  'POST /v1/approvals/:id/override': {
    summary: 'Approve in place of the quorum, on the card you saw',
    params,
    body: overridingSchema,
    response: votedSchema,
    codes: [...VOTE_CODES, 'override_not_permitted', 'sign_in_too_old'],
  },
  'POST /v1/approvals/:id/claim': {
    summary: 'Say that you are looking at it, for a quarter of an hour',
    params,
    body: claimingSchema,
    response: claimedSchema,
    codes: CLAIM_CODES,
  },
  'POST /v1/approvals/:id/release': {
    summary: 'Say that you are not looking at it any more',
    params,
    body: claimingSchema,
    response: claimedSchema,
    codes: [...CLAIM_CODES, 'not_claimant'],
  },
  'POST /v1/approvals/:id/ask': {
    summary: 'Ask the agent whose call waits',
    params,
    body: askingSchema,
    response: askedSchema,
    codes: [
      ...(['not_found', 'read_only_token', 'not_entitled', 'self_approval', 'already_decided'] as const),
      ...(['question_open', 'too_many_questions', 'too_large', 'unreadable'] as const),
    ],
  },
  'GET /v1/grants': { summary: 'The grants in force that you may see', response: grantsSchema, codes: [] },
  'POST /v1/grants/:id/revoke': {
    summary: 'Take a grant back, at once and everywhere',
    params,
    body: revokingSchema,
    response: revokedSchema,
    codes: ['not_found', 'read_only_token', 'not_grantor', 'too_large', 'unreadable'],
  },
  'GET /v1/delegations': {
    summary: 'Who stands in for you, and for whom you do; for admins, everybody',
    response: delegationsSchema,
    codes: [],
  },
  'POST /v1/delegations': {
    summary: 'Name who stands in for you while you are away',
    body: delegatingSchema,
    response: delegatedSchema,
    codes: [
      ...(['read_only_token', 'already_delegated', 'unknown_delegate', 'self_delegation', 'bad_period'] as const),
      ...(['too_large', 'unreadable'] as const),
    ],
  },
  'POST /v1/delegations/:id/end': {
    summary: 'End it, at once and everywhere',
    params: z.strictObject({ id: delegationIdSchema }),
    body: endingSchema,
    response: endedSchema,
    codes: ['not_found', 'read_only_token', 'too_large', 'unreadable'],
  },
  'GET /v1/agents': { summary: 'The agents you may see', response: agentsSchema, codes: [] },
  'POST /v1/agents/suspend': {
    summary: 'Stop an agent, or every agent that acts for a person',
    body: switchSchema,
    response: switchedSchema,
    codes: ['read_only_token', 'unknown_issuer', 'too_many_suspended', 'too_large', 'unreadable'],
  },
  'POST /v1/agents/resume': {
    summary: 'Let it go on',
    body: switchSchema,
    response: switchedSchema,
    codes: ['read_only_token', 'own_side', 'too_large', 'unreadable'],
  },
} as const satisfies Record<EndpointName, Endpoint>

type Schema<Name extends EndpointName, Part extends string> = (typeof ENDPOINTS)[Name] extends {
  readonly [Key in Part]: infer Type extends z.ZodType
}
  ? z.output<Type>
  : undefined

/** What a handler of this endpoint is given: who asks, with which token, and what they sent, parsed. */
export interface Asked<Name extends EndpointName> {
  readonly person: Person
  readonly token: string
  readonly params: Schema<Name, 'params'>
  readonly query: Schema<Name, 'query'>
  readonly body: Schema<Name, 'body'>
}
