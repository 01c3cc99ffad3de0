/**
 * Faults, as opposed to refusals.
 * - `config`: the configuration, a policy file or a command line is wrong; its message is one clear line for a person.
 * - `store`: Postgres cannot be reached, or answers what it must not.
 * - `audit`: an entry could not be committed.
 * - `upstream`: an upstream, an issuer or a channel failed.
 * - `internal`: a promise of the code to itself was broken.
 */
export type ErrorCode = 'config' | 'store' | 'audit' | 'upstream' | 'internal'

export class GatewayError extends Error {
  override readonly name = 'GatewayError'
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
