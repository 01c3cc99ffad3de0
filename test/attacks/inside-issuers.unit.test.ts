import { describe, expect, it } from 'vitest'
import { checkIssuers } from '../../src/identity/check-issuers.ts'
import { agentIssuerOptions, peopleIssuerOptions } from '../../src/identity/options.ts'

const TENANT = '11111111-2222-4333-8444-555555555555'

const agent = (issuer: string) =>
  agentIssuerOptions.parse({ issuer, name: 'agents', audiences: ['gateway'], subject: ['tid', 'oid'], owner: 'none' })
const people = (issuer: string, name = 'people') =>
  peopleIssuerOptions.parse({
    issuer,
    name,
    audience: `console-${name}`,
    client_id: `console-${name}`,
    authorized_parties: [`console-${name}`],
    subject: ['tid', 'oid'],
  })

describe('one directory under two names', () => {
  const v1 = `https://sts.windows.net/${TENANT}/`
  const v2 = `https://login.microsoftonline.com/${TENANT}/v2.0`

  it('does not start: its people could approve what their own agents ask for', () => {
    expect(checkIssuers([agent(v1)], [people(v2)])).toEqual([expect.stringContaining('by another name')])
    expect(
      checkIssuers(
        [agent(v1.toUpperCase().replace('HTTPS://STS.WINDOWS.NET', 'https://sts.windows.net'))],
        [people(v2)],
      ),
    ).toEqual([expect.stringContaining('by another name')])
  })

  it('does not start: one of its people would be two of a quorum', () => {
    expect(checkIssuers([], [people(v1, 'one'), people(v2, 'two')])).toEqual([
      expect.stringContaining('by another name'),
    ])
    expect(
      checkIssuers([], [people('https://idp.example.com', 'one'), people('https://idp.example.com/', 'two')]),
    ).toEqual([expect.stringContaining('by another name')])
  })

  it('is no fault of two tenants, nor of one name', () => {
    expect(checkIssuers([agent(v2)], [{ ...people(v2), name: 'agents' }])).toEqual([])
    const other = `https://sts.windows.net/${TENANT.replaceAll('1', '2')}/`
    expect(checkIssuers([agent(other)], [people(v2)])).toEqual([])
  })
})
