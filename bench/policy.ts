/** A policy file as policies/*.yaml hold it. */
export interface BenchPolicy {
  readonly name: string
  readonly rules: readonly object[]
}

const VERBS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const
const RESOURCES = ['refunds', 'invoices', 'customers', 'subscriptions', 'disputes', 'payouts', 'reports'] as const

/**
 * So many rules for one upstream, in the proportions of a real set: four of them match the reads that the load sends
 * (an allow, and three whose conditions are evaluated), the rest name other resources, verbs or groups.
 */
export function policyOf(count: number, isWithSql = false): BenchPolicy {
  const others = Array.from({ length: Math.max(0, count - MATCHING.length) }, (_, index) => otherRule(index))
  const rules = [...MATCHING, ...others].slice(0, count)
  if (!isWithSql) return { name: 'bench', rules }
  return { name: 'bench', rules: [...rules.map((rule) => ({ upstreams: ['billing'], ...rule })), ...SQL] }
}

const SQL = [
  { name: 'sql', upstreams: ['orders'], when: 'action.facts.secrets.size() == 0', effect: 'allow' },
  { name: 'no-programs', upstreams: ['orders'], when: 'action.facts.copy_program != ""', effect: 'deny' },
  {
    name: 'ddl',
    upstreams: ['orders'],
    verbs: ['drop table', 'truncate table'],
    effect: 'hold',
    approval: { reviewers: ['group:finance'] },
  },
]

const MATCHING = [
  { name: 'reads', principals: ['group:support-agents'], verbs: ['GET', 'HEAD'], effect: 'allow' },
  {
    name: 'refunds-need-finance',
    verbs: ['POST'],
    resources: ['/refunds', '/refunds/**'],
    effect: 'hold',
    approval: { reviewers: ['group:finance'], expires: '30m' },
  },
  {
    name: 'no-exports',
    resources: ['/customers/**'],
    when: '"format" in action.facts.query && "csv" in action.facts.query["format"]',
    effect: 'deny',
    message: 'Customers are not exported.',
  },
  {
    name: 'no-staging-agents',
    when: 'upstream.labels.environment == "production" && principal.subject.startsWith("staging-")',
    effect: 'deny',
  },
  {
    name: 'no-bulk-reads',
    verbs: ['GET'],
    when: 'action.facts.content_length > 10000 && action.facts.path.startsWith("/bulk/")',
    effect: 'deny',
  },
]

function otherRule(index: number) {
  const verb = VERBS[index % VERBS.length] ?? 'GET'
  const resource = RESOURCES[index % RESOURCES.length] ?? 'refunds'
  const effect = (['allow', 'hold', 'deny', 'allow'] as const)[index % 4] ?? 'allow'
  const own = `team-${index % 40}`
  const resources = index % 3 === 0 ? [`/${resource}/${index}/**`] : [`/${resource}/*/parts-${index}`, `/${own}/**`]
  return {
    name: `rule-${index}`,
    ...(index % 2 === 0 && { principals: [`group:${own}`] }),
    ...(index % 5 !== 0 && { verbs: [verb] }),
    resources,
    ...(index % 4 === 1 && { when: `action.facts.content_length > ${1000 + index}` }),
    effect,
    ...(effect === 'hold' && { approval: { reviewers: [`group:${own}-leads`], quorum: 1 + (index % 2) } }),
  }
}
