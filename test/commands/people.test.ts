import { chmod, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ID, startWorld } from './world.ts'

let world: Awaited<ReturnType<typeof startWorld>>
beforeEach(async () => {
  world = await startWorld({ observed: ['crm'] })
})
afterEach(() => world.close())

const cardHash = () => world.queue.findFor(FINN, ID).then((found) => found?.approval.cardHash ?? '')
const FINN = {
  issuer: 'any',
  subject: 'finn',
  name: null,
  groups: [{ issuerName: 'idp', name: 'finance' }],
  roles: ['reviewer'],
  assurance: 'oidc',
  authenticatedAt: null,
} as const

describe('login', () => {
  it('signs in by device code and keeps what only its owner may open', async () => {
    const { code, out, err, signIns } = await world.run(['login'])
    expect([code, signIns]).toEqual([0, 1])
    expect(err).toMatch(/Open http:\/\/127\.0\.0\.1:\d+\/device and enter the code [A-Z-]{9}/)
    expect(out).toMatch(/^Signed in to http:\/\/127\.0\.0\.1:\d+ as finn, to list and show, until 20/)
    const path = join(world.configDir, 'sessions.json')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await stat(world.configDir)).mode & 0o777).toBe(0o700)
    expect(await readdir(world.configDir)).toEqual(['sessions.json'])
  })

  it('keeps a token that lists and shows, and that no vote is accepted from', async () => {
    await world.run(['login'])
    const [session] = JSON.parse(await readFile(join(world.configDir, 'sessions.json'), 'utf8')).sessions
    const headers = { authorization: `Bearer ${session.token}`, 'content-type': 'application/json' }
    expect((await fetch(`${world.url}/v1/approvals/${ID}`, { headers })).status).toBe(200)
    for (const decision of ['approve', 'deny']) {
      const body = JSON.stringify({ card_hash: await cardHash(), reason: 'x' })
      const vote = await fetch(`${world.url}/v1/approvals/${ID}/${decision}`, { method: 'POST', headers, body })
      expect([vote.status, await vote.json()]).toMatchObject([403, { code: 'read_only_token' }])
    }
    expect(world.queue.ballots).toEqual([])
  })

  it('keeps nothing of a sign-in that could vote, whatever the listener says of its clients', async () => {
    world.signIn.issuers = [{ ...world.provider.offer, read_client_id: world.provider.voteClient }]
    const { code, err } = await world.run(['login'])
    expect([code, err]).toEqual([1, expect.stringContaining('not kept: this sign-in could vote')])
    expect((await world.run(['approvals', 'list'])).err).toContain('nobody is signed in')
  })

  it('says where to look if the provider gave it a token for something else', async () => {
    world.signIn.issuers = [{ ...world.provider.offer, parameters: {} }]
    const { code, err } = await world.run(['login'])
    expect([code, err]).toEqual([1, expect.stringContaining('people[].sign_in.parameters of the configuration says')])
    expect(err).not.toContain('Run `countersign login`')
  })

  it('fails in one line when it is denied in the browser', async () => {
    const { code, out, err } = await world.run(['login'], { as: null })
    expect([code, out]).toEqual([1, ''])
    expect(err.split('\n').at(-1)).toMatch(/^countersign login: no sign-in at http:.*: it was denied in the browser$/)
  })

  it.each([
    ['http://approvals.example.com', 'the URL must be https, or http on this machine'],
    ['approvals', 'approvals is not a URL'],
    ['https://me:secret@approvals.example.com', 'the URL must have no credentials, query or fragment'],
  ])('does not talk to %s', async (url, why) => {
    expect(await world.run(['login', '--url', url])).toMatchObject({
      code: 1,
      err: `countersign login: ${why}`,
      signIns: 0,
    })
  })

  it('says in one line that nothing answers, or something else does', async () => {
    const nobody = await world.run(['login', '--url', 'http://127.0.0.1:9'])
    expect([nobody.code, nobody.err]).toEqual([
      1,
      expect.stringMatching(/^countersign login: .* cannot be reached: .*$/),
    ])
    const other = await world.run(['login', '--url', `${world.provider.issuer}`])
    expect([other.code, other.err.split('\n').length]).toEqual([1, 1])
  })

  it('asks which provider where there are several', async () => {
    world.signIn.issuers = [world.provider.offer, { ...world.provider.offer, name: 'okta' }]
    expect((await world.run(['login'])).err).toBe('countersign login: which one? Give --issuer: idp, okta')
    expect((await world.run(['login', '--issuer', 'okat'])).code).toBe(1)
    expect((await world.run(['login', '--issuer', 'idp', '--json'])).out).toContain('"subject": "finn"')
  })
})

describe('logout', () => {
  it('forgets the sign-in', async () => {
    await world.run(['login'])
    expect((await world.run(['logout'])).out).toBe(`Signed out of ${world.url}.`)
    expect((await world.run(['logout', '--json'])).out).toBe('{\n  "signed_out": []\n}')
    expect(await readFile(join(world.configDir, 'sessions.json'), 'utf8')).not.toContain('eyJ')
    expect(await world.run(['approvals', 'list'])).toMatchObject({ code: 1, signIns: 0 })
  })
})

describe('the kept sign-in', () => {
  it('is not read where others could open it, or when it is damaged', async () => {
    await world.run(['login'])
    const path = join(world.configDir, 'sessions.json')
    await chmod(path, 0o644)
    const open = await world.run(['approvals', 'list'])
    expect([open.code, open.err]).toEqual([1, expect.stringContaining(`chmod 600 ${path}`)])
    await chmod(path, 0o600)
    await writeFile(path, '{"sessions":')
    expect((await world.run(['approvals', 'list'])).err).toContain('is damaged: remove it and sign in again')
  })

  it('names the control listener, where it is the only one', async () => {
    await world.run(['login'])
    expect((await world.run(['approvals', 'list'], { defaultUrl: null })).code).toBe(0)
    await world.run(['logout'])
    const { code, err } = await world.run(['approvals', 'list'], { defaultUrl: null })
    expect([code, err]).toEqual([
      1,
      'countersign approvals list: which control listener? Give --url, or set COUNTERSIGN_URL',
    ])
  })
})

describe('approvals list', () => {
  it('prints a line an approval, without signing in again', async () => {
    await world.run(['login'])
    const { code, out, err, signIns } = await world.run(['approvals', 'list'])
    expect([code, signIns]).toEqual([0, 0])
    expect(out.split('\n')[0]).toMatch(/^ID +STATE +UPSTREAM +ACTION +AGENT +LEFT$/)
    expect(out.split('\n')[1]).toMatch(/^7Q3F000000 +pending +billing +POST \/refunds +support-agent +1[45] min$/)
    expect(err).toBe('! Observe mode: calls to crm are recorded, but neither held nor denied.')
  })

  it('prints JSON, and what a filter leaves', async () => {
    await world.run(['login'])
    const whole = await world.run(['approvals', 'list', '--json', '--state', 'pending', '--state', 'approved'])
    expect(JSON.parse(whole.out)).toMatchObject({ approvals: [{ id: ID, upstream: 'billing' }], next: null })
    expect((await world.run(['approvals', 'list', '--upstream', 'crm'])).out).toBe('There are none.')
    const wrong = await world.run(['approvals', 'list', '--limit', 'many'])
    expect([wrong.code, wrong.err]).toEqual([1, expect.stringContaining('(malformed)')])
  })

  it('asks nobody for a state that there is not', async () => {
    const list = (...states: string[]) =>
      world.run(['approvals', 'list', ...states.flatMap((state) => ['--state', state])], { defaultUrl: null })
    const known = 'pending, approved, denied, expired, withdrawn, spent'
    expect(await list('pending', 'aproved')).toMatchObject({
      code: 2,
      err: 'countersign approvals list: unknown state aproved; did you mean approved?',
    })
    expect(await list('bogus')).toMatchObject({
      code: 2,
      err: `countersign approvals list: unknown state bogus; there are ${known}`,
    })
    await world.run(['login'])
    expect(await world.run(['approvals', 'list', '--state', 'spent,denied'])).toMatchObject({ out: 'There are none.' })
  })

  it('signs in for once where nothing may be kept', async () => {
    world.signIn.issuers = [{ ...world.provider.offer, read_client_id: null }]
    expect((await world.run(['login'])).err).toContain('has no sign-in that could be kept')
    expect(await world.run(['approvals', 'list'])).toMatchObject({ code: 0, signIns: 1 })
    expect(await world.run(['approvals', 'list'])).toMatchObject({ code: 0, signIns: 1 })
  })
})

describe('approvals show', () => {
  it('prints the card and the exact call, and nothing that a terminal would obey', async () => {
    await world.run(['login'])
    const { code, out } = await world.run(['approvals', 'show', ID.toLowerCase()])
    expect(code).toBe(0)
    expect(out).toContain('  | {"amount":120,"to":"mallory"}')
    expect(out).toContain('  owner           http://127.0.0.1')
    expect(out).toContain('  note            was done before at 09:00')
    expect(out).toContain('  reason          the customer asked⟨U+202E⟩')
    expect(out).toContain('  1 of group:finance, for billing/refunds-need-finance')
    expect(out).toContain(`  card hash       ${await cardHash()}`)
    expect(out.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
  })

  it('prints JSON that a terminal is safe from, and that says the same', async () => {
    await world.run(['login'])
    const { out } = await world.run(['approvals', 'show', ID, '--json'])
    expect(out.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u)
    expect(JSON.parse(out)).toMatchObject({ card: { claimed: { reason: 'the customer asked\u202e' } } })
  })

  it('says in one line that there is none, or none to be seen', async () => {
    await world.run(['login'], { as: 'stranger' })
    const hidden = await world.run(['approvals', 'show', ID])
    const missing = await world.run(['approvals', 'show', '0000000000'])
    expect(hidden).toMatchObject({ code: 1, out: '', err: missing.err })
    const detail = 'There is no such approval, or it is not shown to you. (not_found)'
    expect(missing.err).toBe(`countersign approvals show: ${detail}`)
  })

  it.each(['show', 'approve', 'deny'])('%s asks nobody for an id that cannot be one', async (command) => {
    for (const id of ['NOPE', '../whoami', '7Q3F00000U']) {
      expect(await world.run(['approvals', command, id], { defaultUrl: null })).toMatchObject({
        code: 2,
        out: '',
        signIns: 0,
        err: `countersign approvals ${command}: There is no such approval: ${id} is not an approval’s id, which has ten letters and digits`,
      })
    }
  })

  it('refuses a card that is not the one of its hash', async () => {
    await world.run(['login'])
    world.tamper((held) => ({ ...held, card: held.card && { ...held.card, claimed: { reason: 'all is well' } } }))
    const { code, out, err } = await world.run(['approvals', 'show', ID])
    expect([code, out]).toEqual([1, ''])
    expect(err).toBe(`countersign approvals show: the card of ${ID} is not the one of its hash: do not vote on it`)
  })
})

describe('a vote', () => {
  it('signs in afresh, also right after login, and keeps nothing of it', async () => {
    await world.run(['login'])
    const path = join(world.configDir, 'sessions.json')
    const before = await readFile(path, 'utf8')
    const { code, out, signIns } = await world.run(['approvals', 'approve', ID, '--card-hash', await cardHash()])
    expect([code, signIns]).toEqual([0, 1])
    expect(out).toBe(`Your vote to approve counts. Approval ${ID} is approved.`)
    expect(world.queue.ballots).toMatchObject([{ decision: 'approve', via: 'api', reviewer: { subject: 'finn' } }])
    expect(await readFile(path, 'utf8')).toBe(before)
    expect(await readdir(world.configDir)).toEqual(['sessions.json'])
  })

  it('shows the card and asks for its id, where somebody is there to be asked', async () => {
    const no = await world.run(['approvals', 'approve', ID], { answer: 'y' })
    expect(no).toMatchObject({ code: 1, out: '' })
    expect(no.err).toMatch(/Nothing was voted\.$/)
    expect(no.err).toContain('  | {"amount":120,"to":"mallory"}')
    expect(world.queue.ballots).toEqual([])
    const yes = await world.run(['approvals', 'deny', ID, '--reason', 'Not to mallory.', '--json'], {
      answer: ` ${ID} `,
    })
    expect(yes).toMatchObject({ code: 0, questions: [`To deny it, type its id (${ID}): `] })
    expect(JSON.parse(yes.out)).toMatchObject({ approval: { state: 'denied', reason: 'Not to mallory.' } })
  })

  it('without a terminal has to say which card was seen, before anybody signs in', async () => {
    const { code, err, signIns } = await world.run(['approvals', 'approve', ID])
    expect([code, signIns]).toEqual([1, 0])
    expect(err).toContain('give --card-hash')
  })

  describe('that needs a reason', () => {
    const reasons = () => world.queue.ballots.map(({ reason }) => reason)
    beforeEach(() => {
      world.tamper(({ approval, card }) => {
        const requirements = approval.requirements.map((one) => ({ ...one, isReasonRequired: true }))
        return { approval: { ...approval, requirements }, card }
      })
    })

    it('asks for it, where somebody is there to be asked and gave none', async () => {
      const asked = await world.run(['approvals', 'approve', ID], { answer: [' It is Olga’s. ', ID] })
      expect(asked).toMatchObject({ code: 0, questions: ['Reason: ', `To approve it, type its id (${ID}): `] })
      expect(reasons()).toEqual(['It is Olga’s.'])
    })

    it('asks for nothing else where the card was named, and for nothing where one was given', async () => {
      const argv = ['approvals', 'approve', ID, '--card-hash', await cardHash()]
      expect(await world.run(argv, { answer: ['Fine.'] })).toMatchObject({ code: 0, questions: ['Reason: '] })
      await world.run([...argv, '--reason', 'Given.'], { answer: [] })
      expect(reasons()).toEqual(['Fine.', 'Given.'])
    })

    it('is not cast without one', async () => {
      const { code, err } = await world.run(['approvals', 'approve', ID], { answer: ['  ', ID] })
      expect([code, err.split('\n').at(-1)]).toEqual([1, 'Nothing was voted: it needs a reason.'])
      expect(reasons()).toEqual([])
    })

    it.each(['approve', 'deny'])('without a terminal is refused before anybody signs in: %s', async (decision) => {
      await world.run(['login'])
      const { code, err, signIns } = await world.run(['approvals', decision, ID, '--card-hash', await cardHash()])
      expect([code, signIns]).toEqual([2, 0])
      expect(err).toBe(`countersign approvals ${decision}: a rule needs a reason for this vote: give --reason`)
      expect(reasons()).toEqual([])
    })

    it('without a terminal is refused after the sign-in, where nothing else could tell', async () => {
      const argv = ['approvals', 'approve', ID, '--card-hash', await cardHash()]
      expect(await world.run(argv)).toMatchObject({ code: 2, signIns: 1 })
      await world.run(['login'], { as: 'stranger' })
      expect(await world.run(argv)).toMatchObject({ code: 2, signIns: 1 })
      expect(reasons()).toEqual([])
    })
  })

  it('is not cast on another card than the one seen', async () => {
    const { code, err } = await world.run(['approvals', 'approve', ID, '--card-hash', '00'.repeat(32)])
    expect([code, err]).toEqual([1, expect.stringContaining('is not the one you saw')])
    world.tamper((held) => ({ ...held, card: null }))
    const erased = await world.run(['approvals', 'approve', ID, '--card-hash', await cardHash()])
    expect(erased.err).toContain('is no longer kept')
    expect(world.queue.ballots).toEqual([])
  })

  it.each([
    ['of the agent’s owner', 'olivia', 'self_approval'],
    ['of somebody who may not see it', 'stranger', 'not_found'],
  ])('%s is refused in one line', async (_case, as, code) => {
    const vote = await world.run(['approvals', 'approve', ID, '--card-hash', await cardHash()], { as })
    expect([vote.code, vote.out]).toEqual([1, ''])
    expect(vote.err.split('\n').at(-1)).toMatch(new RegExp(`^countersign approvals approve: .* \\(${code}\\)$`))
  })

  it('is not cast when the sign-in is denied', async () => {
    const { code } = await world.run(['approvals', 'deny', ID, '--card-hash', await cardHash()], { as: null })
    expect(code).toBe(1)
    expect(world.queue.ballots).toEqual([])
  })
})

describe('every command', () => {
  it.each([['login'], ['logout'], ['approvals list'], ['approvals show'], ['approvals approve'], ['approvals deny']])(
    '%s says what it takes, and names the nearest option',
    async (name) => {
      const argv = name.split(' ')
      const help = await world.run([...argv, '--help'])
      expect([help.code, help.err]).toEqual([0, ''])
      expect(help.out).toContain(`Usage: countersign ${name}`)
      expect(help.out).toContain('--json')
      const wrong = await world.run([...argv, '--jsonn'])
      expect(wrong).toMatchObject({
        code: 2,
        out: '',
        err: `countersign ${name}: unknown option --jsonn; did you mean --json?`,
      })
    },
  )
})

describe('a vote on what the agent replied', () => {
  async function reply() {
    await world.queue.ask({ approval: ID, by: FINN, text: 'Which order?', via: 'api' })
    world.queue.reply(ID, 'Order 7.')
  }

  it('counts on the replies that were shown just before', async () => {
    await reply()
    const { code, err } = await world.run(['approvals', 'approve', ID], { answer: ID })
    expect([code, err]).toEqual([0, expect.stringContaining('| Order 7.')])
    expect(world.queue.ballots.map(({ replies }) => replies)).toEqual([1])
  })

  it('names them where the card is named, and is refused without', async () => {
    await reply()
    const argv = ['approvals', 'approve', ID, '--card-hash', await cardHash()]
    const unheard = await world.run(argv)
    expect([unheard.code, unheard.err]).toEqual([1, expect.stringContaining('The card is not the one you saw')])
    expect((await world.run([...argv, '--replies', 'all'])).code).toBe(2)
    expect((await world.run([...argv, '--replies', '1'])).code).toBe(0)
  })
})
