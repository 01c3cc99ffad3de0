import { describe, expect, it } from 'vitest'
import { problemHeaders, problemOf } from '../../src/domain/problem.ts'
import { CODES, type Code, refuse } from '../../src/domain/refusal.ts'

describe('problem details', () => {
  it('gives every code its status, its type and a title', () => {
    for (const [code, status] of Object.entries(CODES)) {
      const problem = problemOf(refuse(code as Code, 'Not executed.')) // the keys of CODES are its codes
      expect(problem).toMatchObject({ type: `https://countersign.dev/problems/${code}`, status, code })
      expect(problem.title).not.toBe('')
    }
  })

  it('names the approval, the rule and where to ask', () => {
    const why = refuse('approval_pending', 'Not executed. Waiting for approval 7Q3F. Repeat the call unchanged.', {
      approval: '7Q3F',
      rule: { policy: 'billing', rule: 'refunds' },
    })
    expect(problemOf(why, { callId: 'c1', publicUrl: 'https://gateway.example.com/' })).toEqual({
      type: 'https://countersign.dev/problems/approval_pending',
      title: 'Waiting for approval',
      status: 403,
      detail: 'Not executed. Waiting for approval 7Q3F. Repeat the call unchanged.',
      code: 'approval_pending',
      call: 'c1',
      approval: '7Q3F',
      status_url: 'https://gateway.example.com/.countersign/calls/7Q3F',
      rule: 'billing/refunds',
    })
  })

  it('gives no status_url to a refusal without an approval', () => {
    expect(problemOf(refuse('denied', 'No.'), { callId: 'c1', publicUrl: 'http://g' })).not.toHaveProperty('status_url')
  })
})

describe('problem headers', () => {
  it('challenges with error, description and resource metadata', () => {
    const why = refuse('unauthenticated', 'No.', { challenge: { error: 'invalid_token', description: 'expired' } })
    expect(problemHeaders(why, 'https://g/.well-known/oauth-protected-resource/billing')['www-authenticate']).toBe(
      'Bearer error="invalid_token", error_description="expired", ' +
        'resource_metadata="https://g/.well-known/oauth-protected-resource/billing"',
    )
  })

  it('keeps a description from ending its quotes or its line', () => {
    const why = refuse('unauthenticated', 'No.', {
      challenge: { error: null, description: 'a", x="\r\nSet-Cookie: y\\' },
    })
    expect(problemHeaders(why, null)['www-authenticate']).toBe(`Bearer error_description="a', x='''Set-Cookie: y'"`)
  })

  it('rounds Retry-After up, to whole seconds of at least one', () => {
    expect(problemHeaders(refuse('unavailable', 'No.', { retryAfterS: 0.2 }), null)['retry-after']).toBe('1')
    expect(problemHeaders(refuse('rate_limited', 'No.', { retryAfterS: 2.1 }), null)['retry-after']).toBe('3')
  })
})
