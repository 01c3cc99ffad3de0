import { describe, expect, it } from 'vitest'
import { GatewayError } from '../../src/domain/error.ts'
import { describeError } from '../../src/platform/describe-error.ts'

function system(code: string, message: string, more: object = {}): Error {
  return Object.assign(new Error(message), { code, ...more })
}

/** What fetch makes of a fault of the network, and what we make of that. */
function failedFetch(cause: unknown): Error {
  const fetching = new GatewayError('upstream', 'the issuer did not answer in order', {
    cause: new TypeError('fetch failed', { cause }),
  })
  return new GatewayError('upstream', 'the issuer could not be discovered', { cause: fetching })
}

const REFUSED = system('ECONNREFUSED', 'connect ECONNREFUSED 127.0.0.1:9', { address: '127.0.0.1', port: 9 })

describe('a fault of the network', () => {
  it('is written as what was tried and what it came from, without stacks', () => {
    expect(describeError(failedFetch(REFUSED))).toEqual({
      type: 'GatewayError',
      message: 'the issuer could not be discovered',
      code: 'upstream',
      causes: [
        { message: 'the issuer did not answer in order', code: 'upstream' },
        { message: 'fetch failed' },
        { message: 'connect ECONNREFUSED 127.0.0.1:9', code: 'ECONNREFUSED', address: '127.0.0.1', port: 9 },
      ],
    })
  })

  it.each<[string, Error]>([
    ['a name that is not known', system('ENOTFOUND', 'getaddrinfo ENOTFOUND idp.example.com')],
    ['a name that is not known now', system('EAI_AGAIN', 'getaddrinfo EAI_AGAIN idp.example.com')],
    ['a connection that was reset', system('ECONNRESET', 'socket hang up')],
    ['no way there', system('EHOSTUNREACH', 'connect EHOSTUNREACH 10.0.0.1:443')],
    ['a timeout of connecting', system('ETIMEDOUT', 'connect ETIMEDOUT 10.0.0.1:443')],
    ['a timeout of undici', system('UND_ERR_CONNECT_TIMEOUT', 'Connect Timeout Error')],
    ['a socket that undici lost', system('UND_ERR_SOCKET', 'other side closed')],
    ['an answer that is no HTTP', system('HPE_INVALID_CONSTANT', 'Expected HTTP/')],
    ['a timeout of ours', new DOMException('The operation was aborted due to timeout', 'TimeoutError')],
    ['a certificate of its own', system('DEPTH_ZERO_SELF_SIGNED_CERT', 'self-signed certificate')],
    ['a certificate of nobody known', system('UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'unable to get local issuer')],
    ['a certificate that is over', system('CERT_HAS_EXPIRED', 'certificate has expired')],
    ['a certificate of another', system('ERR_TLS_CERT_ALTNAME_INVALID', 'Hostname/IP does not match')],
    ['something that is no TLS', system('ERR_SSL_WRONG_VERSION_NUMBER', 'wrong version number')],
    ['a handshake that failed', system('EPROTO', 'write EPROTO')],
    ['an answer that is none', new GatewayError('upstream', 'the issuer answered 503')],
    ['an answer that shows a wrong configuration', new GatewayError('config', 'the issuer calls itself otherwise')],
  ])('has no stack: %s', (_, error) => {
    for (const thrown of [error, failedFetch(error)]) {
      const written = JSON.stringify(describeError(thrown))
      expect(written).not.toContain('stack')
      expect(written).toContain(error.message)
      expect(written.length).toBeLessThan(600)
    }
  })

  it('is written for each address that was tried', () => {
    const other = system('ECONNREFUSED', 'connect ECONNREFUSED ::1:9')
    const tried = Object.assign(new AggregateError([other, REFUSED]), { code: 'ECONNREFUSED' })
    expect(describeError(failedFetch(tried))).toMatchObject({
      causes: [{}, {}, { message: other.message }, { message: REFUSED.message }],
    })
  })

  it('says each message once, and no more of them than anybody reads', () => {
    let error: Error = REFUSED
    for (let depth = 0; depth < 50; depth++) {
      error = new Error(`attempt ${Math.min(depth, 9)} failed`, { cause: error })
    }
    const { causes } = describeError(error) as { causes: { message: string }[] }
    expect(causes).toHaveLength(5)
    expect(causes.at(-1)?.message).toBe(REFUSED.message)
    const long = describeError(new Error('x'.repeat(5_000), { cause: system('ECONNRESET', 'y'.repeat(5_000)) }))
    expect(JSON.stringify(long).length).toBeLessThan(2_000)
  })

  it('that holds itself ends', () => {
    const error = system('ECONNRESET', 'read ECONNRESET')
    error.cause = error
    expect(describeError(error)).toMatchObject({ message: 'read ECONNRESET' })
    const loop = new AggregateError([], 'all failed')
    loop.errors.push(loop, loop)
    expect(describeError(loop)).toMatchObject({ message: 'all failed' })
  })
})

describe('a fault of the program', () => {
  it.each<[string, Error]>([
    ['of the language', new TypeError('undefined is not a function')],
    ['of a promise of the code to itself', new GatewayError('internal', 'nobody asked')],
    ['without a name', new Error('something else')],
    ['of an argument', system('ERR_INVALID_ARG_TYPE', 'the "key" argument must be of type string')],
    ['in an aggregate', new AggregateError([REFUSED, new RangeError('out of range')])],
    ['on the way from a fault of the network', new GatewayError('internal', 'never', { cause: REFUSED })],
  ])('keeps its stack, whatever it is wrapped in: %s', (_, error) => {
    for (const thrown of [error, failedFetch(error)]) {
      expect(JSON.stringify(describeError(thrown))).toContain('describe-error.unit.test.ts')
    }
  })
})
