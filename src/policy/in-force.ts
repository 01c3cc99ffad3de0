import { stringify } from 'yaml'
import type { BreakerEffect } from '../domain/breaker.ts'
import type { Effect } from '../domain/verdict.ts'
import type { Published } from './published.ts'
import type { Breaker, Policy, Rule } from './schema.ts'

/** A rule as it was loaded, for people to read. */
export interface WrittenRule {
  readonly name: string
  readonly effect: Effect
  /** What was written, as YAML, in one form whatever the file looked like. */
  readonly text: string
}

/** A circuit breaker likewise. */
export interface WrittenBreaker {
  readonly name: string
  readonly effect: BreakerEffect
  readonly text: string
}

/** The policies that decide, and where they come from. */
export interface PoliciesInForce {
  readonly version: number
  /** Hex SHA-256 of their canonical text. */
  readonly hash: string
  /** Milliseconds since the epoch. */
  readonly publishedAt: number
  readonly publishedBy: string
  /** By name, and so are their rules. */
  readonly policies: readonly {
    readonly name: string
    readonly rules: readonly WrittenRule[]
    readonly breakers: readonly WrittenBreaker[]
  }[]
}

export function writeInForce(published: Published, policies: readonly Policy[]): PoliciesInForce {
  const { version, hash, publishedAt, publishedBy } = published
  return {
    version,
    hash,
    publishedAt: publishedAt.getTime(),
    publishedBy,
    policies: policies.map(({ name, rules, breakers = [] }) => ({
      name,
      rules: rules.map(writeRule),
      breakers: breakers.map(writeBreaker),
    })),
  }
}

function writeRule({ name, effect, ...rest }: Rule): WrittenRule {
  return { name, effect, text: stringify({ ...rest, effect }, { lineWidth: 100 }) }
}

function writeBreaker({ name, ...rest }: Breaker): WrittenBreaker {
  return { name, effect: rest.then, text: stringify(rest, { lineWidth: 100 }) }
}
