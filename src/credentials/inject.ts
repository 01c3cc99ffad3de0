import { createHash } from 'node:crypto'
import { lengthPrefixed } from '../domain/bytes.ts'
import type { CredentialOptions } from './options.ts'

/** The credentials of every upstream. They may be replaced while calls pass: a call gets what is there when it is sent. */
export interface Injector {
  /** The header to add, as name and value; empty if the upstream has no credential. The list is not to be changed. */
  headersFor(upstream: string): readonly string[]
  /** What to log in with, where a protocol has a user and a password; null if the upstream's credential is none. */
  loginFor(upstream: string): Login | null
  /**
   * Names which credential would be used, without its secret: what a call is bound to. A rotated secret is the same
   * credential; another user or another header is another one.
   */
  referenceOf(upstream: string): Buffer
  /** Takes the credentials of a configuration that was read anew. */
  replace(upstreams: readonly Credentialed[]): void
}

export interface Login {
  readonly user: string
  readonly password: string
}

export interface Credentialed {
  readonly name: string
  readonly credential?: CredentialOptions | undefined
}

export function createInjector(upstreams: readonly Credentialed[]): Injector {
  let known = prepare(upstreams)
  return {
    headersFor: (upstream) => known.get(upstream)?.headers ?? [],
    loginFor: (upstream) => known.get(upstream)?.login ?? null,
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

interface Style {
  readonly headers: readonly string[]
  readonly login: Login | null
  readonly reference: Buffer
}

const NOTHING: Style = { headers: [], login: null, reference: NO_REFERENCE }

function styleOf(credential: CredentialOptions): Style {
  if ('bearer' in credential) {
    return {
      headers: ['authorization', `Bearer ${credential.bearer}`],
      login: null,
      reference: referenceTo(['bearer']),
    }
  }
  if ('basic' in credential) {
    const { user, password } = credential.basic
    const encoded = Buffer.from(`${user}:${password}`, 'utf8').toString('base64')
    return {
      headers: ['authorization', `Basic ${encoded}`],
      login: credential.basic,
      reference: referenceTo(['basic', user]),
    }
  }
  const { name, value } = credential.header
  return { headers: [name.toLowerCase(), value], login: null, reference: referenceTo(['header', name.toLowerCase()]) }
}

function referenceTo(parts: readonly string[]): Buffer {
  return createHash('sha256').update(lengthPrefixed('countersign credential v1', parts)).digest()
}
