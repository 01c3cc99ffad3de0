import type { Clock } from '../platform/clock.ts'
import type { Logger } from '../platform/logger.ts'
import { discoverKeySetUrl } from './discover.ts'
import { createFetcher } from './fetch-json.ts'
import { createKeySet, type KeySet, type KeyTiming } from './key-set.ts'
import type { IssuerOptions } from './options.ts'

/** An issuer of the configuration, with its keys. */
export interface Trusted<Options extends IssuerOptions> {
  readonly options: Options
  readonly keys: KeySet
}

/** Issuers by exactly what `iss` has to be. */
export interface Trust<Options extends IssuerOptions> {
  find(issuer: string): Trusted<Options> | null
  /** Waits for the first fetch of every issuer's keys. What it found wrong with the configuration, a sentence each. */
  probe(): Promise<readonly string[]>
  close(): Promise<void>
}

/** How long issuers may take to answer, and when their keys are fetched again; the defaults are for production. */
export type TrustTiming = Partial<KeyTiming & { fetchTimeoutMs: number }>

/** Begins to fetch the keys of all issuers, each by itself, so that one which is down holds up no other. */
export function trustIssuers<Options extends IssuerOptions>(
  issuers: readonly Options[],
  parts: { clock: Clock; log: Logger; timing?: TrustTiming | undefined },
): Trust<Options> {
  const { clock, log, timing = {} } = parts
  const fetchers = new Set<{ close(): Promise<void> }>()
  const trusted = new Map<string, Trusted<Options>>()

  for (const options of issuers) {
    const { fetchTimeoutMs } = timing
    const fetcher = createFetcher({
      ca: options.ca,
      ...(fetchTimeoutMs === undefined ? {} : { timeoutMs: fetchTimeoutMs }),
    })
    fetchers.add(fetcher)
    const load = async (signal: AbortSignal) => {
      const url = options.jwks_uri ?? (await discoverKeySetUrl(options, fetcher, signal)).href
      return await fetcher.fetchJson(url, signal)
    }
    trusted.set(options.issuer, { options, keys: createKeySet({ load, issuer: options.issuer, clock, log, timing }) })
  }

  return {
    find: (issuer) => trusted.get(issuer) ?? null,
    async probe() {
      const faults = await Promise.all([...trusted.values()].map(({ keys }) => keys.settled()))
      return faults.flatMap((fault) => (fault?.code === 'config' ? fault.message : []))
    },
    async close() {
      for (const { keys } of trusted.values()) keys.close()
      await Promise.all([...fetchers].map((fetcher) => fetcher.close()))
    },
  }
}
