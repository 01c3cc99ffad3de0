import { mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { agents } from '../../src/commands/agents.ts'
import { approvals } from '../../src/commands/approvals.ts'
import type { Group } from '../../src/commands/cli.ts'
import { dispatch } from '../../src/commands/dispatch.ts'
import { login } from '../../src/commands/login.ts'
import { logout } from '../../src/commands/logout.ts'
import type { PersonContext } from '../../src/commands/person-context.ts'
import { createControlServer } from '../../src/control/server.ts'
import type { SignInWire } from '../../src/control/wire.ts'
import type { SeenAgent } from '../../src/domain/agent.ts'
import { peopleOptions } from '../../src/identity/options.ts'
import { createPeople } from '../../src/identity/people.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { fakeAgents, fakeQueue, type HeldCall, refund } from '../control/people.ts'
import { startProvider } from './provider.ts'

export const group: Group<PersonContext> = {
  kind: 'group',
  summary: 'Countersign',
  commands: { login, logout, approvals, agents },
}

/** A control listener with real identities, a provider to sign in with, and one person's command line. */
export async function startWorld({ observed = [] as readonly string[], others = [] as readonly SeenAgent[] } = {}) {
  const provider = await startProvider()
  const log = pino({ level: 'silent' })
  const people = createPeople({ issuers: peopleOptions.parse([provider.people]), clock: systemClock, log })
  const { queue, tamper } = agentOf(provider.issuer)
  const desk = fakeAgents(others)
  const signIn: { issuers: SignInWire['issuers'] } = { issuers: [provider.offer] }
  const app = await createControlServer({
    agents: desk,
    queue,
    people,
    signIn,
    observed: () => observed,
    callbacks: [],
    console: null,
    publicUrl: null,
    tls: null,
    log,
    clock: systemClock,
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo // it listens on TCP
  const url = `http://127.0.0.1:${port}`
  const home = await mkdtemp(join(tmpdir(), 'countersign-cli-'))
  const configDir = join(home, 'config', 'countersign')

  /** Runs a command line; whoever it invites to sign in does so as `as`. */
  async function run(
    argv: readonly string[],
    {
      as = 'finn',
      answer = null,
      defaultUrl = url,
    }: { as?: string | null; answer?: string | readonly string[] | null; defaultUrl?: string | null } = {},
  ) {
    const answers = [answer ?? []].flat()
    const out: string[] = []
    const err: string[] = []
    const visits: Promise<string>[] = []
    const questions: string[] = []
    const context: PersonContext = {
      out: (line) => void out.push(line),
      err(line) {
        err.push(line)
        const page = /^or open (\S+)$/.exec(line)?.[1]
        if (page !== undefined) visits.push(provider.visit(page, as === null ? 'abort' : { as }))
      },
      ask:
        answer === null
          ? null
          : async (question) => {
              questions.push(question)
              return answers.shift() ?? ''
            },
      signal: AbortSignal.timeout(8_000),
      clock: systemClock,
      configDir,
      defaultUrl,
      columns: { out: 1000, err: 1000 },
    }
    const code = await dispatch({ name: 'countersign', group }, argv, context)
    await Promise.all(visits)
    return { code, out: out.join('\n'), err: err.join('\n'), signIns: visits.length, questions }
  }

  return {
    provider,
    url,
    configDir,
    queue,
    agents: desk,
    tamper,
    signIn,
    run,
    async close() {
      await app.close()
      await Promise.all([people.close(), provider.close(), rm(home, { recursive: true, force: true })])
    },
  }
}

export const ID = '7Q3F000000'

/** One held refund; `tamper` changes what the listener answers, as somebody on the way might. */
function agentOf(issuer: string) {
  const base = refund(ID, { expiresAt: Date.now() + 900_000 })
  const approval = {
    ...base.approval,
    requester: { ...base.approval.requester, issuer, owner: { issuer, subject: 'olivia' } },
  }
  const queue = fakeQueue([{ ...base, approval }])
  let alter: ((held: Pick<HeldCall, 'approval' | 'card'>) => Partial<HeldCall>) | null = null
  return {
    queue: {
      ...queue,
      async findFor(...asked: Parameters<typeof queue.findFor>) {
        const found = await queue.findFor(...asked)
        return found && alter ? { ...found, ...alter(found) } : found
      },
    },
    tamper: (how: typeof alter) => {
      alter = how
    },
  }
}
