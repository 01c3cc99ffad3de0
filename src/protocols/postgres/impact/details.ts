import type { Named } from '../naming/statement.ts'
import type { Answer, Question } from '../relay/question.ts'
import { readPlan } from './plan-text.ts'
import { about, CASCADES, CONTENTS, DEPENDANTS, SIZES, TRIGGERS } from './relations.ts'

/** Answers, or says why there is no answer. What is asked of the upstream's catalog is not of rows. */
export type Ask = (question: Question, how?: { readonly isOfRows?: boolean }) => Promise<Answer | string>

export async function showSample(question: Question, ask: Ask): Promise<string[]> {
  const answer = await ask(question, { isOfRows: true })
  if (typeof answer === 'string') return [`No sample: ${answer}.`]
  return answer.rows.map(([row]) => `For example ${row}`)
}

/** Nothing if there is no plan: then the statement is as the upstream would refuse it. */
export async function showPlan(question: Question, ask: Ask): Promise<string[]> {
  const answer = await ask({ ...question, sql: `EXPLAIN (FORMAT JSON) ${question.sql}` })
  if (typeof answer === 'string') return []
  const lines = readPlan(answer.rows[0]?.[0] ?? '')
  return lines && lines.length > 0 ? [`The plan: ${lines.join('; ')}.`] : []
}

export async function showCascades({ resource }: Named, ask: Ask): Promise<string[]> {
  const answer = await ask(about(CASCADES, [resource]))
  if (typeof answer === 'string') return [`What foreign keys change besides is not known: ${answer}.`]
  const others = [...new Set(answer.rows.map(([, other]) => other))]
  return others.length > 0 ? [`By foreign keys it also changes ${others.join(', ')}, which is not counted.`] : []
}

export async function showTriggers({ resource }: Named, ask: Ask): Promise<string[]> {
  const answer = await ask(about(TRIGGERS, [resource]))
  if (typeof answer === 'string') return [`Which triggers run besides is not known: ${answer}.`]
  const names = answer.rows.map(([, name]) => name)
  return names.length > 0 ? [`Triggers of ${resource} run besides: ${names.join(', ')}.`] : []
}

/** What a definition takes away or alters: how large it is, and what depends on it. */
export async function showDependants(named: Named, ask: Ask): Promise<string[]> {
  return named.tag.endsWith(' schema') ? showContents(named, ask) : showRelations(named, ask)
}

async function showContents({ acts, tag }: Named, ask: Ask): Promise<string[]> {
  const schemas = acts.filter(({ verb }) => verb === tag).map(({ resource }) => resource)
  const answer = await ask(about(CONTENTS, schemas))
  if (typeof answer === 'string') return [`What it holds is not known: ${answer}.`]
  return answer.rows.map(([name, count, size]) => `${name} holds ${count} relations, ${size}.`)
}

async function showRelations({ facts }: Named, ask: Ask): Promise<string[]> {
  if (facts.tables.length === 0) return []
  const sizes = await ask(about(SIZES, facts.tables))
  if (typeof sizes === 'string') return [`What it affects is not known: ${sizes}.`]
  if (sizes.rows.length === 0) return []
  return [...sizes.rows.map(saySize), await sayDependants(facts.tables, ask)]
}

async function sayDependants(tables: readonly string[], ask: Ask): Promise<string> {
  const answer = await ask(about(DEPENDANTS, tables))
  if (typeof answer === 'string') return `What depends on it is not known: ${answer}.`
  const found = answer.rows.map(([, what]) => what)
  if (found.length === 0) return 'Nothing else depends on it.'
  return `On it depend: ${found.slice(0, MAX_DEPENDANTS).join(', ')}${found.length > MAX_DEPENDANTS ? ' and more' : ''}.`
}

/** One less than are asked for. */
const MAX_DEPENDANTS = 20

const KINDS: Readonly<Record<string, string>> = {
  r: 'a table',
  p: 'a partitioned table',
  v: 'a view',
  m: 'a materialized view',
  f: 'a foreign table',
  i: 'an index',
  I: 'a partitioned index',
  S: 'a sequence',
}

function saySize([name, kind, rows, size]: readonly (string | null)[]): string {
  const many = rows === null ? '' : ` of about ${rows} rows`
  return `${name}: ${KINDS[kind ?? ''] ?? 'a relation'}${many}, ${size}.`
}
