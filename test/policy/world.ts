import type { FactSchema } from '../../src/domain/action.ts'
import type { Principal } from '../../src/domain/principal.ts'
import { formatProblem, type Problem, parseYaml } from '../../src/platform/yaml.ts'
import { type CompileContext, compile } from '../../src/policy/compile.ts'
import type { DecideInput } from '../../src/policy/decide.ts'
import { isProblems } from '../../src/policy/problem.ts'
import { policySchema } from '../../src/policy/schema.ts'
import type { PolicySet } from '../../src/policy/set.ts'
import { createSource, type PolicySource } from '../../src/policy/source.ts'
import { statementFacts } from '../../src/protocols/postgres/naming/facts.ts'
import { VERBS } from '../../src/protocols/postgres/naming/tags.ts'

export const HTTP_FACTS: FactSchema = {
  method: { type: 'string', doc: 'The method.' },
  path: { type: 'string', doc: 'The path.' },
  query: { type: 'map<string, list<string>>', doc: 'The query.' },
  content_type: { type: 'string', doc: 'The media type of the body.' },
  content_length: { type: 'int', doc: 'Bytes of the body; missing if not known.' },
  host: { type: 'string', doc: 'The host.' },
  body: { type: 'dyn', need: 'body', doc: 'The JSON body.' },
}

export const SQL_FACTS: FactSchema = {
  tables: { type: 'list<string>', doc: 'The tables.' },
  has_where: { type: 'bool', doc: 'Whether it has a WHERE clause.' },
  rows: { type: 'int', need: 'rows', doc: 'Rows it would touch.' },
  body: { type: 'dyn', need: 'parameters', doc: 'Its parameters.' },
}

export const CONTEXT: CompileContext = {
  upstreams: [
    { name: 'billing', protocol: 'http', labels: { environment: 'production', data: 'customer' } },
    { name: 'deploy-api', protocol: 'http', labels: { environment: 'production' } },
    { name: 'scratch', protocol: 'http', labels: {} },
    { name: 'shop', protocol: 'postgres', labels: { environment: 'production' } },
    { name: 'warehouse', protocol: 'sql', labels: { environment: 'production' } },
  ],
  facts: { http: HTTP_FACTS, sql: SQL_FACTS, postgres: statementFacts },
  verbs: {
    http: ['GET', 'HEAD', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'DELETE', 'UPGRADE'],
    sql: ['SELECT', 'INSERT', 'UPDATE', 'DELETE'],
    postgres: VERBS,
  },
  withRows: new Set(['sql', 'postgres']),
}

export const AGENT: Principal = {
  issuer: 'https://idp.example.com',
  subject: 'support-bot',
  onBehalfOf: null,
  actors: [],
  owner: { issuer: 'https://idp.example.com', subject: 'carol' },
  groups: [{ issuerName: 'corp', name: 'support-agents' }],
  client: 'support',
  expiresAt: 2_000_000_000,
}

/** Reads policies written as YAML texts, as if each were a file. */
export function sourceOf(...texts: readonly string[]): PolicySource | readonly Problem[] {
  const read = texts.map((text, index) => parseYaml(text, { file: `${index}.yaml`, schema: policySchema }))
  const problems = read.flatMap((one) => (one.ok ? [] : one.problems))
  if (problems.length > 0) return problems
  const good = read.flatMap((one, index) => (one.ok ? [{ ...one, file: `${index}.yaml` }] : []))
  return createSource(
    good.map(({ value }) => value),
    (policy, rule, path) => {
      const found = good.find(({ value }) => value.name === policy)
      const index = found?.value.rules.findIndex(({ name }) => name === rule) ?? -1
      const breaker = found?.value.breakers?.findIndex(({ name }) => name === rule) ?? -1
      const place = index === -1 ? ['breakers', breaker] : ['rules', index]
      return { file: found?.file ?? '', line: found?.lineOf([...place, ...path]) ?? 0 }
    },
  )
}

export function compileTexts(...texts: readonly string[]): PolicySet | readonly Problem[] {
  const source = sourceOf(...texts)
  return isProblems(source) ? source : compile(source, CONTEXT)
}

/** The set; throws, with the problems, if there are any. */
export function setOf(...texts: readonly string[]): PolicySet {
  const set = compileTexts(...texts)
  if (isProblems(set)) throw new Error(set.map(formatProblem).join('\n'))
  return set
}

/** One problem a line, as `file:line: message`. */
export function problemsOf(...texts: readonly string[]): readonly string[] {
  const set = compileTexts(...texts)
  return isProblems(set) ? set.map(formatProblem) : []
}

/** A policy of one rule with this condition, for the upstream `billing`. */
export function conditional(when: string, effect: 'allow' | 'deny' = 'allow'): string {
  return `name: p\nrules:\n  - name: r\n    upstreams: [billing]\n    when: ${JSON.stringify(when)}\n    effect: ${effect}\n`
}

export function describeCall(
  more: Partial<DecideInput> & { verb?: string; resource?: string; facts?: object },
): DecideInput {
  const { verb = 'POST', resource = '/refunds', facts = {}, ...rest } = more
  const upstream = rest.upstream ?? { name: 'billing', protocol: 'http', labels: { environment: 'production' } }
  return {
    principal: AGENT,
    isSuspended: false,
    heldBy: [],
    upstream,
    callId: '01890a5d-ac96-774b-bcce-b302099a8057',
    actions: [{ upstream: upstream.name, protocol: upstream.protocol, verb, resource, facts: { ...facts } }],
    have: new Set(['body', 'rows', 'parameters']),
    now: Date.UTC(2026, 0, 1, 12),
    ...rest,
  }
}
