import type { AgentDesk } from './desk.ts'
import type { Asked } from './endpoints.ts'
import { type ControlRefusal, explainSwitch, refuseAs } from './problem.ts'
import type { AgentsWire, NoticeWire, SwitchedWire } from './wire.ts'
import { writeAgent } from './write.ts'

type Switching = Pick<Asked<'POST /v1/agents/suspend'>, 'person' | 'body'>

/** The kill switch, for programs. */
export function createAgentHandlers(desk: AgentDesk, notices: () => readonly NoticeWire[]) {
  return {
    async list({ person }: Asked<'GET /v1/agents'>): Promise<AgentsWire> {
      return { agents: (await desk.list(person)).map(writeAgent), notices: notices() }
    },

    turn(way: 'suspend' | 'resume') {
      return async ({ person, body }: Switching): Promise<SwitchedWire | ControlRefusal> => {
        const { issuer, subject, reason } = body
        const result = await desk[way]({ agent: { issuer, subject }, by: person, reason, via: 'api' })
        if (!result.done) return refuseAs(...explainSwitch(result))
        return { agent: writeAgent(result.agent), changed: result.isChanged, notices: notices() }
      }
    },
  }
}
