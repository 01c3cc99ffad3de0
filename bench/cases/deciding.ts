import { NOTHING_NEEDED } from '../../src/domain/action.ts'
import type { Principal } from '../../src/domain/principal.ts'
import { compile } from '../../src/policy/compile.ts'
import { type DecideInput, decide } from '../../src/policy/decide.ts'
import { policySchema } from '../../src/policy/schema.ts'
import type { PolicySet } from '../../src/policy/set.ts'
import { createSource } from '../../src/policy/source.ts'
import { http } from '../../src/protocols/http/index.ts'
import { policyOf } from '../policy.ts'
import type { Table } from '../report.ts'
import { median } from '../statistics.ts'

const SIZES = [10, 100, 1000]
const DECISIONS = 20_000
const TARGET_US = 20

const UPSTREAM = { name: 'billing', protocol: 'http', labels: { environment: 'production', data: 'customer' } }

const AGENT: Principal = {
  issuer: 'https://idp.example.com',
  subject: 'support-7',
  onBehalfOf: null,
  actors: [],
  owner: { issuer: 'https://idp.example.com', subject: 'olivia' },
  groups: ['support-agents', 'customer-care', 'emea'].map((name) => ({ issuerName: 'bench', name })),
  client: 'support-agent',
  expiresAt: 2_000_000_000,
}

/** One decision, in this process: a read that four rules match, three of them with conditions to evaluate. */
export function measureDeciding({ rounds }: { rounds: number }): Table {
  const sets = SIZES.map((size) => ({ size, set: compileSet(size) }))
  const input = describe('/customers/c-17')
  const results = new Map<number, number[]>(SIZES.map((size) => [size, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const { size, set } of sets) {
      const us = timeOf(set, input)
      if (round > 0) results.get(size)?.push(us)
    }
  }
  return {
    title: 'One decision',
    about: `decide() for a read that four rules match, three of them with conditions; microseconds, medians of ${rounds} rounds of ${DECISIONS.toLocaleString('en-US')} decisions. Target: ≤ ${TARGET_US} µs with 1,000 rules.`,
    columns: ['µs', 'highest round'],
    rows: [...results].map(([size, all]) => ({
      label: `${size.toLocaleString('en-US')} rules`,
      values: { µs: median(all), 'highest round': Math.max(...all) },
      isMet: size === 1000 ? median(all) <= TARGET_US : null,
    })),
  }
}

function compileSet(size: number): PolicySet {
  const source = createSource([policySchema.parse(policyOf(size))], () => ({ file: 'bench', line: 0 }))
  if (!('hash' in source)) throw new Error(source[0]?.message)
  const set = compile(source, { upstreams: [UPSTREAM], facts: { http: http.facts }, verbs: { http: http.verbs } })
  if (!('lookups' in set)) throw new Error(set[0]?.message)
  return set
}

function describe(path: string): DecideInput {
  const facts = {
    method: 'GET',
    path,
    query: {},
    host: 'billing.internal',
    content_type: '',
    content_length: 0,
    upgrade: '',
  }
  return {
    principal: AGENT,
    isSuspended: false,
    heldBy: [],
    upstream: UPSTREAM,
    callId: '01920000-0000-7000-8000-000000000000',
    actions: [{ upstream: 'billing', protocol: 'http', verb: 'GET', resource: path, facts }],
    have: NOTHING_NEEDED,
    now: 1_750_000_000_000,
  }
}

function timeOf(set: PolicySet, input: DecideInput): number {
  const startedAt = performance.now()
  for (let count = 0; count < DECISIONS; count++) {
    if (decide(set, input).effect !== 'allow') throw new Error('the read was not allowed')
  }
  return ((performance.now() - startedAt) * 1000) / DECISIONS
}
