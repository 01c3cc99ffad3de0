import { expect, it } from 'vitest'
import type { Needs } from '../../src/domain/action.ts'
import { formatMask, type Mask } from '../../src/domain/verdict.ts'
import { decide } from '../../src/policy/decide.ts'
import { createJudge } from '../../src/policy/judge.ts'
import { makeCall } from '../approvals/parts.ts'
import { AGENT, describeCall, setOf } from './world.ts'

it('asks for what rules read, and says with it what they mask', async () => {
  const set = setOf(`name: p
rules:
  - { name: r, upstreams: [shop], when: action.facts.rows <= 10, effect: allow, mask: [public.customers.email] }
`)
  const upstream = { name: 'shop', protocol: 'postgres', labels: {} }
  const { actions } = describeCall({ upstream, verb: 'update', resource: 'public.orders', facts: { rows: 3 } })
  const asked: [readonly string[], readonly string[]][] = []
  const call = {
    ...makeCall({ principal: AGENT }),
    describe: async (needs: Needs, masks: readonly Mask[]) => {
      asked.push([[...needs], masks.map(formatMask)])
      return actions
    },
  }
  const judge = createJudge({
    decide: (_call, { have }) => decide(set, describeCall({ upstream, actions, have })),
    isSuspended: () => false,
    heldBy: () => [],
    applyLimits: async (_call, verdict) => verdict,
    managerOf: () => null,
  })
  expect(await judge(call)).toMatchObject({ effect: 'allow' })
  expect(asked).toEqual([
    [[], []],
    [['rows'], ['public.customers.email']],
  ])
})
