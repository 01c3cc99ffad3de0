import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ID, startWorld } from './world.ts'

let world: Awaited<ReturnType<typeof startWorld>>
beforeAll(async () => {
  world = await startWorld()
})
afterAll(() => world.close())

/** The real command line, in a process of its own; whoever it invites signs in as finn. */
async function countersign(...argv: string[]) {
  const child = spawn(process.execPath, ['src/main.ts', ...argv], {
    env: {
      NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
      XDG_CONFIG_HOME: dirname(world.configDir),
      COUNTERSIGN_URL: world.url,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const out: string[] = []
  const err: string[] = []
  createInterface({ input: child.stdout }).on('line', (line) => out.push(line))
  createInterface({ input: child.stderr }).on('line', (line) => {
    err.push(line)
    const page = /^or open (\S+)$/.exec(line)?.[1]
    if (page !== undefined) void world.provider.visit(page, { as: 'finn' })
  })
  const [code] = await once(child, 'close')
  return { code, out: out.join('\n'), err: err.join('\n') }
}

describe('a reviewer at the real command line', () => {
  it('signs in, looks, votes and signs out', { timeout: 120_000 }, async () => {
    expect(await countersign('login')).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Signed in to .* as finn/),
    })
    expect((await countersign('approvals', 'list')).out).toContain(ID)
    const shown = await countersign('approvals', 'show', ID)
    expect(shown).toMatchObject({ code: 0, err: '' })
    const hash = /card hash +([0-9a-f]{64})/.exec(shown.out)?.[1] ?? ''
    const approved = await countersign('approvals', 'approve', ID, '--card-hash', hash)
    expect(approved).toMatchObject({ code: 0, out: `Your vote to approve counts. Approval ${ID} is approved.` })
    const denied = await countersign(
      'approvals',
      'deny',
      ID,
      '--card-hash',
      hash,
      '--reason',
      'On second thoughts, no.',
    )
    expect(denied).toMatchObject({ code: 0, out: `Your vote to deny counts. Approval ${ID} is denied.` })
    expect(await countersign('logout')).toMatchObject({ code: 0, out: `Signed out of ${world.url}.` })
    expect(await countersign('approvals', 'list')).toMatchObject({ code: 1, out: '' })
  })

  it('is told in one line what was mistyped', async () => {
    expect(await countersign('approvals', 'list', '--jsonn')).toEqual({
      code: 2,
      out: '',
      err: 'countersign approvals list: unknown option --jsonn; did you mean --json?',
    })
  })
})
