import { createHash } from 'node:crypto'
import { lengthPrefixed } from '../domain/bytes.ts'
import type { CredentialOptions } from './options.ts'

/** The credentials of every upstream. They may be replaced while calls pass: a call gets what is there when it is sent. */
export interface Injector {
  /** The header to add, as name and value; empty if the upstream has no credential. The list is not to be changed. */
  headersFor(upstream: string): readonly string[]
  /**
   * Names which credential would be used, without its secret: what a call is bound to. A rotated secret is the same
   * credential; another user or another header is another one.
   */
  referenceOf(upstream: string): Buffer
  /** Takes the credentials of a configuration that was read anew. */
  replace(upstreams: readonly Credentialed[]): void
}

export interface Credentialed {
  readonly name: string
  readonly credential?: CredentialOptions | undefined
}

export function createInjector(upstreams: readonly Credentialed[]): Injector {
  let known = prepare(upstreams)
  return {
    headersFor: (upstream) => known.get(upstream)?.headers ?? [],
    referenceOf: (upstream) => known.get(upstream)?.reference ?? NO_REFERENCE,
    replace(next) {
      known = prepare(next)
    },
  }
}

const NO_REFERENCE = referenceTo(['none'])

function prepare(upstreams: readonly Credentialed[]) {
  return new Map(upstreams.map(({ name, credential }) => [name, credential ? styleOf(credential) : NOTHING]))
}

const NOTHING = { headers: [], reference: NO_REFERENCE }

function styleOf(credential: CredentialOptions): { headers: readonly string[]; reference: Buffer } {
  if ('bearer' in credential) {
    return { headers: ['authorization', `Bearer ${credential.bearer}`], reference: referenceTo(['bearer']) }
  }
  if ('basic' in credential) {
    const { user, password } = credential.basic
    const encoded = Buffer.from(`${user}:${password}`, 'utf8').toString('base64')
    return { headers: ['authorization', `Basic ${encoded}`], reference: referenceTo(['basic', user]) }
  }
  const { name, value } = credential.header
  return { headers: [name.toLowerCase(), value], reference: referenceTo(['header', name.toLowerCase()]) }
}

function referenceTo(parts: readonly string[]): Buffer {
  return createHash('sha256').update(lengthPrefixed('countersign credential v1', parts)).digest()
}
