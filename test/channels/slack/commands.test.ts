import { afterEach, describe, expect, it } from 'vitest'
import { aWhile, type Mode, type Rig, type RigOptions, startRig } from './rig.ts'
import { createFakeAgents, readable } from './samples.ts'

const MODES: Mode[] = ['socket', 'http']
const ISSUER = 'https://idp.example.com'
const OTHER = 'https://other.example.com'

let rig: Rig | null = null
async function start(options?: RigOptions): Promise<Rig> {
  rig = await startRig(options)
  return rig
}
afterEach(async () => {
  await rig?.close()
  rig = null
})

/** What was shown last, to whom, and all of its words. */
function shownIn({ slack }: Rig) {
  const last = slack.state.ephemerals.at(-1) ?? expect.fail('nothing was shown')
  return { user: last.user, via: last.via, text: last.text, words: `${last.text} ${readable(last.blocks ?? [])}` }
}

describe.each(MODES)('over %s', (mode) => {
  it('somebody who is linked stops an agent, and is told alone', async () => {
    const rig = await start({ mode })
    await rig.slack.command('U0ALICE', 'suspend agent-7 it deletes   what it should not')
    expect(rig.agents.requests).toEqual([
      {
        agent: { issuer: ISSUER, subject: 'agent-7' },
        by: expect.objectContaining({ subject: 'alice', assurance: 'slack', authenticatedAt: null }),
        reason: 'it deletes   what it should not',
        via: 'slack',
      },
    ])
    const shown = shownIn(rig)
    expect(shown).toMatchObject({ user: 'U0ALICE', via: 'command' })
    expect(shown.words).toContain('Suspended, on every replica.')
    expect(shown.words).toContain(`agent-7 of ${ISSUER}`)
    expect(rig.slack.state.messages).toEqual([])
  })

  it('somebody who is not linked stops nobody', async () => {
    const rig = await start({ mode })
    await rig.slack.command('U0ERIN', 'suspend agent-7')
    expect(shownIn(rig).text).toContain('not linked to a reviewer')
    expect(rig.agents.requests).toEqual([])
  })

  it('an answer that comes too late for Slack goes to its own address', async () => {
    const agents = createFakeAgents()
    const rig = await start({ mode, agents, timing: { ackMs: 20 } })
    const { promise, resolve } = Promise.withResolvers<void>()
    agents.answerNext(async () => {
      await promise
      return { done: false, fault: 'not_allowed' }
    })
    const taken = await rig.slack.command('U0ALICE', 'suspend agent-7')
    expect(taken).toMatchObject({ status: 200, body: null })
    resolve()
    await expect.poll(() => rig.slack.state.ephemerals.length).toBe(1)
    expect(shownIn(rig)).toMatchObject({ via: 'response_url', text: 'Nothing was done. You may not suspend agents.' })
  })
})

describe('who is meant', () => {
  const twins = () => createFakeAgents([ISSUER, OTHER].map((issuer) => ({ issuer, subject: 'twin' })))

  it.each([
    ['the subject in another case', 'suspend AGENT-7', 'agent-7', ISSUER],
    ['issuer and subject', `suspend ${OTHER}|twin it runs wild`, 'twin', OTHER],
    ['in the brackets that Slack puts around an address', `suspend <${OTHER}|twin>`, 'twin', OTHER],
    ['in quotes', 'Suspend "agent seven" reason', 'agent seven', ISSUER],
    ['in the quotes that telephones type', 'suspend “agent seven”', 'agent seven', ISSUER],
    ['one that was never seen, with its issuer', `suspend ${OTHER}|ghost`, 'ghost', OTHER],
  ])('is told by %s', async (_how, text, subject, issuer) => {
    const known = [
      { issuer: ISSUER, subject: 'agent-7' },
      { issuer: ISSUER, subject: 'agent seven' },
      { issuer: ISSUER, subject: 'twin' },
      { issuer: OTHER, subject: 'twin' },
    ]
    const { slack, agents } = await start({ agents: createFakeAgents(known) })
    await slack.command('U0ALICE', text)
    expect(agents.requests).toMatchObject([{ agent: { issuer, subject } }])
  })

  it('is asked where several agents are called that', async () => {
    const rig = await start({ agents: twins() })
    await rig.slack.command('U0ALICE', 'suspend twin')
    expect(rig.agents.requests).toEqual([])
    const { words } = shownIn(rig)
    for (const issuer of [ISSUER, OTHER]) expect(words).toContain(`/countersign suspend ${issuer}|twin`)
  })

  it('is nobody where none is called that', async () => {
    const rig = await start()
    await rig.slack.command('U0ALICE', 'suspend <!channel> *now*')
    expect(rig.agents.requests).toEqual([])
    const { text, words } = shownIn(rig)
    expect(text).toBe('Nothing was done. No agent of that name was seen calling.')
    // What somebody wrote is plain text.
    expect(words).toContain('!channel')
  })

  it('is said to have never called', async () => {
    const rig = await start()
    await rig.slack.command('U0ALICE', `suspend ${OTHER}|ghost`)
    expect(shownIn(rig).words).toContain('No agent of this name has called yet')
  })
})

describe('a command', () => {
  it.each(['', 'help', 'resume agent-7', 'suspend', 'suspend ""', `suspend ${'a'.repeat(1001)}`])(
    'that is not understood is explained: %.30s',
    async (text) => {
      const rig = await start()
      await rig.slack.command('U0ALICE', text)
      expect(shownIn(rig).text).toContain('/countersign suspend &lt;agent&gt; [reason]')
      expect(rig.agents.requests).toEqual([])
    },
  )

  it('keeps a reason within bounds, and does without one', async () => {
    const { slack, agents } = await start()
    await slack.command('U0ALICE', `suspend agent-7 ${'x'.repeat(3000)}`)
    await slack.command('U0ALICE', 'suspend agent-7')
    await slack.command('U0ALICE', 'suspend agent-7 line one\nline two\u0000\u001b[2J')
    expect(agents.requests.map(({ reason }) => reason.length)).toEqual([2000, 'No reason was given.'.length, 22])
    expect(agents.requests[2]?.reason).toBe('line one\nline two  [2J')
  })

  it('of somebody without the role does nothing', async () => {
    const agents = createFakeAgents()
    agents.answerNext(() => ({ done: false, fault: 'not_allowed' }))
    const rig = await start({ agents })
    await rig.slack.command('U0ALICE', 'suspend agent-7')
    expect(shownIn(rig).text).toBe('Nothing was done. You may not suspend agents.')
  })

  it('that names an issuer of which nobody can call is told the issuers that there are', async () => {
    const agents = createFakeAgents()
    agents.answerNext(() => ({ done: false, fault: 'unknown_issuer', known: [ISSUER] }))
    const rig = await start({ agents })
    await rig.slack.command('U0ALICE', `suspend ${OTHER}|ghost`)
    expect(shownIn(rig).words).toMatch(
      /Nothing was done\. Nobody of that issuer can call.*https:\/\/idp\.example\.com/s,
    )
  })

  it('that would stop one more that never called is told why it does nothing', async () => {
    const agents = createFakeAgents()
    agents.answerNext(() => ({ done: false, fault: 'too_many_suspended', most: 100, of: 'person' }))
    const rig = await start({ agents })
    await rig.slack.command('U0ALICE', `suspend ${ISSUER}|ghost`)
    expect(shownIn(rig).text).toMatch(/^Nothing was done\. You have stopped 100 that never called/)
  })

  it('that fails is not said to have worked', async () => {
    const agents = createFakeAgents()
    agents.answerNext(() => Promise.reject(new Error('the store is away')))
    const rig = await start({ agents })
    await rig.slack.command('U0ALICE', 'suspend agent-7')
    expect(shownIn(rig).text).toContain('It is not certain that anything was done')
  })

  it.each([
    ['a bot', { is_bot: true }],
    ['a guest', { is_restricted: true }],
    ['somebody of another workspace', { team_id: 'T0OTHER' }],
    ['a deactivated account', { deleted: true }],
  ])('of %s does nothing, even where the account is linked', async (_who, more) => {
    const rig = await start({ before: (slack) => void slack.addUser({ id: 'U0ALICE', ...more }) })
    await rig.slack.command('U0ALICE', 'suspend agent-7')
    expect(shownIn(rig).text).toContain('Nothing was recorded.')
    expect(rig.agents.requests).toEqual([])
  })

  it('of another name or form is left alone', async () => {
    const { slack, agents } = await start()
    const alter = (more: object) => (payload: Record<string, unknown>) => ({ ...payload, ...more })
    await slack.command('U0ALICE', 'suspend agent-7', { alter: alter({ user_id: 'no id' }) })
    await slack.command('U0ALICE', 'suspend agent-7', { alter: alter({ trigger_id: '' }) })
    expect(agents.requests).toEqual([])
    expect(slack.state.ephemerals).toEqual([])
  })
})

describe('over HTTP, a command', () => {
  /** One that is ready to be sent, and what sends it. */
  async function prepare() {
    const rig = await start({ mode: 'http' })
    await rig.slack.command('U0BOB', 'help')
    const fields = new URLSearchParams(
      Object.entries({ ...rig.slack.lastPayload(), trigger_id: 'fresh', text: 'suspend agent-7' }).map(
        ([name, value]): [string, string] => [name, String(value)],
      ),
    )
    const body = fields.toString()
    const post = (headers: Record<string, string>, sent = body) =>
      fetch(rig.slack.requestUrl() ?? '', { method: 'POST', headers, body: sent })
    return { ...rig, fields, body, post }
  }

  it('is taken signed, once', async () => {
    const { slack, agents, body, post } = await prepare()
    const headers = slack.sign(body)
    await Promise.all([post(headers), post(headers), post(headers)])
    await aWhile()
    expect(agents.requests).toHaveLength(1)
  })

  it.each([
    ['with another secret', (slack: Rig['slack'], body: string) => slack.sign(body, { secret: 'f'.repeat(32) })],
    ['ten minutes ago', (slack: Rig['slack'], body: string) => slack.sign(body, { atMs: Date.now() - 600_000 })],
    ['for another body', (slack: Rig['slack'], body: string) => slack.sign(`${body}&x=1`)],
    ['by nobody', (slack: Rig['slack'], body: string) => ({ ...slack.sign(body), 'x-slack-signature': '' })],
  ])('is refused if it was signed %s', async (_how, sign) => {
    const { slack, agents, body, post, refusedSignatures } = await prepare()
    const response = await post(sign(slack, body))
    expect([response.status, await response.text()]).toEqual([401, ''])
    expect(agents.requests).toEqual([])
    expect(await refusedSignatures()).toBe(1)
  })

  it.each([
    ['another command', (fields: URLSearchParams) => fields.set('command', '/other')],
    ['no command', (fields: URLSearchParams) => fields.delete('command')],
    ['a field that is there twice', (fields: URLSearchParams) => fields.append('user_id', 'U0ALICE')],
  ])('is not one with %s', async (_what, change) => {
    const { slack, agents, fields, post } = await prepare()
    change(fields)
    const body = fields.toString()
    expect((await post(slack.sign(body), body)).status).toBe(400)
    expect(agents.requests).toEqual([])
  })
})

describe('a notice', () => {
  const notice = {
    agent: { issuer: ISSUER, subject: 'agent-7 <!channel>' },
    breaker: 'guard/deletions',
    why: 'more than 3 calls within 1m',
    at: 1_760_000_000_000,
  }
  const signal = new AbortController().signal

  it.each([
    ['suspend', 'an agent was suspended'],
    ['hold', 'every call of an agent is held'],
  ] as const)('of a breaker that tripped is posted: %s', async (effect, title) => {
    const { slack, channel } = await start()
    expect(await channel.tell({ ...notice, effect }, signal)).toEqual({ result: 'delivered' })
    const [message] = slack.state.messages
    const words = readable(message?.blocks ?? [])
    expect(message?.text).toContain(title)
    // Nothing of the agent's own in what notifications show.
    expect(message?.text).not.toContain('agent-7')
    for (const word of [
      title,
      'agent-7 <!channel>',
      'guard/deletions',
      notice.why,
      'https://approvals.example.com/agents',
    ]) {
      expect(words).toContain(word)
    }
  })

  it.each([
    ['goes too fast', { kind: 'rate_limited', retryAfterS: 7 }, 7000],
    ['is down', { kind: 'down' }, 1000],
    ['does not take it', { kind: 'error', error: 'is_archived' }, 60_000],
  ] as const)('is tried again where Slack %s', async (_what, how, afterMs) => {
    const { slack, channel } = await start()
    slack.mishap('chat.postMessage', how)
    expect(await channel.tell({ ...notice, effect: 'hold' }, signal)).toMatchObject({ result: 'retry', afterMs })
    expect(await channel.tell({ ...notice, effect: 'hold' }, signal)).toEqual({ result: 'delivered' })
  })
})
