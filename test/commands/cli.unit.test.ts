import { describe, expect, it } from 'vitest'
import { defineCommand, type Group, type Printer } from '../../src/commands/cli.ts'
import { dispatch } from '../../src/commands/dispatch.ts'
import { GatewayError } from '../../src/domain/error.ts'

interface Context extends Printer {
  readonly ran: unknown[]
}

const list = defineCommand({
  summary: 'Lists approvals',
  details: 'Those you may see.',
  options: {
    state: { type: 'string', doc: 'Only these', multiple: true },
    url: { type: 'string', value: 'url', doc: 'Where', required: true },
    upstream: { type: 'string', doc: 'Only this one' },
    json: { type: 'boolean', doc: 'As JSON' },
  },
  async run({ options }, { ran }: Context) {
    // Each option has the type that its spec says.
    const typed: { state: readonly string[]; url: string; upstream: string | undefined; json: boolean } = options
    ran.push(typed)
  },
})
const show = defineCommand({
  summary: 'Shows one',
  args: { id: { doc: 'Its id' }, part: { doc: 'Which part', optional: true } },
  async run({ args }, { ran }: Context) {
    const typed: { id: string; part: string | undefined } = args
    ran.push(typed)
    return 7
  },
})
const wrap = defineCommand({
  summary: 'Runs something',
  args: { upstream: { doc: 'Which' } },
  rest: { name: 'command', doc: 'What to run' },
  async run({ args, rest }, { ran }: Context) {
    ran.push({ ...args, rest })
  },
})
const fail = defineCommand({
  summary: 'Fails',
  options: { how: { type: 'string', doc: 'How' } },
  async run({ options }) {
    if (options.how === 'expected') throw new GatewayError('upstream', 'the server said no')
    throw new TypeError('x is not a function')
  },
})
const group: Group<Context> = {
  kind: 'group',
  summary: 'Does things',
  commands: { approvals: { kind: 'group', summary: 'Approvals', commands: { list, show } }, run: wrap, fail },
}

async function run(...argv: string[]) {
  const out: string[] = []
  const err: string[] = []
  const ran: unknown[] = []
  const context = { out: (line: string) => void out.push(line), err: (line: string) => void err.push(line), ran }
  const code = await dispatch({ name: 'countersign', group }, argv, context)
  return { code, out: out.join('\n'), err: err.join('\n'), ran }
}

describe('a command line', () => {
  it('is parsed into what the command declared', async () => {
    const line = ['approvals', 'list', '--url=https://x', '--state', 'pending', '--json', '--state', 'spent']
    expect(await run(...line)).toMatchObject({
      code: 0,
      err: '',
      ran: [{ state: ['pending', 'spent'], url: 'https://x', upstream: undefined, json: true }],
    })
    expect(await run('approvals', 'show', 'A')).toMatchObject({ code: 7, ran: [{ id: 'A', part: undefined }] })
    expect(await run('approvals', 'show', 'A', 'b')).toMatchObject({ ran: [{ id: 'A', part: 'b' }] })
  })

  it('hands on what follows --, untouched', async () => {
    expect(await run('run', 'billing', '--', 'aws', '--json', '--', '-x')).toMatchObject({
      ran: [{ upstream: 'billing', rest: ['aws', '--json', '--', '-x'] }],
    })
  })

  it.each([
    [
      ['approvals', 'list', '--url', 'x', '--jsn'],
      'countersign approvals list: unknown option --jsn; did you mean --json?',
    ],
    [
      ['approvals', 'list', '--url', 'x', '--frobnicate'],
      'countersign approvals list: unknown option --frobnicate; --help lists them',
    ],
    [['approvals', 'list', '-x'], 'countersign approvals list: unknown option -x; --help lists them'],
    [['approvals', 'list', '--url'], 'countersign approvals list: --url needs a value'],
    [['approvals', 'list', '--url', '--json'], 'countersign approvals list: --url needs a value'],
    [['approvals', 'list', '--url', 'x', '--json=yes'], 'countersign approvals list: --json takes no value'],
    [['approvals', 'list', '--url', 'x', '--url', 'y'], 'countersign approvals list: --url is given twice'],
    [['approvals', 'list'], 'countersign approvals list: --url is missing'],
    [['approvals', 'list', '--url', 'x', 'extra'], 'countersign approvals list: unexpected argument extra'],
    [['approvals', 'list', '--url', 'x', '--', '--json'], 'countersign approvals list: unexpected argument --json'],
    [
      ['approvals', 'list', '--__proto__', 'x'],
      'countersign approvals list: unknown option --__proto__; --help lists them',
    ],
    [['approvals', 'show'], 'countersign approvals show: <id> is missing'],
    [['approvals', 'lst'], 'countersign approvals: unknown command lst; did you mean list?'],
    [['aprovals', 'list'], 'countersign: unknown command aprovals; did you mean approvals?'],
    [['constructor'], 'countersign: unknown command constructor; --help lists them'],
    [['--jsn'], 'countersign: unknown option --jsn; --help lists them'],
  ])('%j is refused in one line', async (argv, line) => {
    expect(await run(...argv)).toEqual({ code: 2, out: '', err: line, ran: [] })
  })

  it('without a command gets help on the error output', async () => {
    const { code, out, err } = await run('approvals')
    expect([code, out]).toEqual([2, ''])
    expect(err).toContain('Usage: countersign approvals <command>')
  })
})

describe('failures', () => {
  it('that are expected are one line', async () => {
    expect(await run('fail', '--how', 'expected')).toMatchObject({
      code: 1,
      err: 'countersign fail: the server said no',
    })
  })

  it('that nobody expected are one line that says so', async () => {
    expect(await run('fail')).toMatchObject({
      code: 1,
      err: 'countersign fail: unexpected failure: x is not a function',
    })
  })
})

describe('help', () => {
  it('lists the commands of every group', async () => {
    for (const word of ['--help', '-h', 'help']) {
      const { code, out } = await run(word)
      expect(code).toBe(0)
      expect(out).toBe(`Usage: countersign <command>

Does things.

Commands:
  approvals …  Approvals
  run          Runs something
  fail         Fails

Every command has --help.`)
    }
    expect((await run('approvals', '--help')).out).toContain('list  Lists approvals')
  })

  it('lists arguments and options of every command, whatever else is on the line', async () => {
    const { code, out, ran } = await run('approvals', 'list', '--help')
    expect([code, ran]).toEqual([0, []])
    expect(out).toBe(`Usage: countersign approvals list --url <url> [options]

Lists approvals.

Those you may see.

Options:
  --state <state>        Only these
  --url <url>            Where
  --upstream <upstream>  Only this one
  --json                 As JSON
  --help                 Says this`)
    expect((await run('run', '--help')).out).toContain('Usage: countersign run <upstream> [options] -- <command…>')
    expect((await run('approvals', 'show', '--help')).out).toContain('show <id> [part] [options]')
  })
})
