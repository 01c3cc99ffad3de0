import { describe, expect, it } from 'vitest'
import { formatShown } from '../../src/commands/approval-text.ts'
import { fold } from '../../src/commands/fold.ts'
import type { ShownWire } from '../../src/control/wire.ts'
import { approvalSchema } from '../../src/control/wire.ts'
import { writeApproval } from '../../src/control/write.ts'
import type { Approval } from '../../src/domain/approval.ts'
import { party, requirement, selector } from '../approvals/parts.ts'
import { makeApproval } from '../channels/slack/samples.ts'
import { refund } from '../control/people.ts'

const OPENED = Date.UTC(2026, 2, 2, 9)

describe('what is needed', () => {
  const asked = {
    ...requirement({
      quorum: 2,
      exclude: [selector('group:contractors')],
      denyQuorum: 2,
      hours: { days: [1, 2, 3, 4, 5], from: 480, to: 1080, zone: 'Europe/Berlin' },
      remindMs: [300_000],
      escalate: { afterMs: 600_000, to: [selector('group:managers')] },
    }),
    reviewers: [selector('group:finance'), { kind: 'manager' as const, party: party('mona') }],
  }
  const wire = writeApproval(makeApproval({ createdAt: OPENED, requirements: [asked] }))

  it('travels as documented', () => {
    expect(approvalSchema.parse(wire).requirements).toEqual([
      {
        rule: 'billing/refunds',
        reviewers: ['group:finance', 'https://idp.example.com|mona'],
        quorum: 2,
        reason_required: false,
        exclude: ['group:contractors'],
        deny_quorum: 2,
        hours: 'mon-fri 08:00-18:00 Europe/Berlin',
        remind: ['2026-03-02T09:05:00.000Z'],
        escalate: { at: '2026-03-02T09:10:00.000Z', to: ['group:managers'] },
      },
    ])
  })

  it('is shown in words', () => {
    expect(formatShown({ approval: wire, card: null, outcome: null, call: null, notices: [] }, OPENED)).toContain(
      '  2 of group:finance, https://idp.example.com|mona, for billing/refunds; not group:contractors; ' +
        '2 denials deny it; approvals count mon-fri 08:00-18:00 Europe/Berlin; ' +
        'from 2026-03-02 09:10 UTC also group:managers',
    )
  })
})

/** What is printed of the call, from its label on. */
function printed(head: Readonly<Record<string, unknown>>, body = '{}', columns = 200): readonly string[] {
  const { approval } = refund('7Q3F000000')
  const shown: ShownWire = {
    approval: writeApproval(approval),
    card: null,
    outcome: null,
    call: { head, body: { bytes: body.length, encoding: 'utf8', content: body } },
    notices: [],
  }
  const lines = fold(formatShown(shown, 0), columns)
  const from = lines.findIndex((line) => line.startsWith('  call '))
  return lines.slice(from, lines.indexOf('', from))
}

describe('how an approval stands', () => {
  const top = (more: Partial<Approval>, outcome: ShownWire['outcome'] = null) => {
    const approval = writeApproval(refund('7Q3F000000', more).approval)
    const lines = formatShown({ approval, card: null, outcome, call: null, notices: [] }, 0)
    return lines.slice(1, lines.indexOf(''))
  }
  const asked = '  asked at        2023-11-14T22:13:20.000Z'

  it('says when it was asked, and whether approving forwards at once', () => {
    expect(top({})).toEqual([asked])
    expect(top({ isDetached: true })).toEqual([
      asked,
      '  detached        nobody waits for the response: once approved, the gateway forwards the call at once',
    ])
    expect(top({ state: 'denied', reason: 'No.' })).toEqual([asked, '  reason          No.'])
  })

  it('says what became of the call once it was used', () => {
    expect(top({ state: 'spent' }, 'client_gone')).toEqual([
      asked,
      '  outcome         client_gone: the client left while its call was being forwarded; the upstream may have acted',
    ])
    expect(top({ state: 'spent' })).toEqual([asked, '  outcome         not recorded yet'])
    expect(top({ state: 'spent', isDetached: true }, 'forwarded')).toEqual([
      asked,
      '  detached        nobody waits for the response',
      '  outcome         forwarded: the upstream answered, and the answer was passed on whole',
    ])
  })
})

describe('the rules that approvals show prints', () => {
  it('have their message under them, with what a terminal would obey written out', () => {
    const { approval, card } = refund('7Q3F000000')
    if (!card) throw new Error('a refund has a card')
    const rules = [
      { name: 'billing/first', message: 'Refunds need finance.\n  owner           nobody\u202e' },
      { name: 'billing/silent', message: null },
      { name: 'billing/last', message: 'And a manager.' },
    ]
    const changed = { ...card, derived: { ...card.derived, rules } }
    const lines = formatShown(
      { approval: writeApproval(approval), card: changed, outcome: null, call: null, notices: [] },
      0,
    )
    const from = lines.findIndex((line) => line.startsWith('  held by'))
    expect(lines.slice(from, from + 5)).toEqual([
      '  held by         billing/first',
      '  its message     Refunds need finance.⟨U+000A⟩  owner           nobody⟨U+202E⟩',
      '  held by         billing/silent',
      '  held by         billing/last',
      '  its message     And a manager.',
    ])
  })

  it('are still named once the card was erased', () => {
    const { approval } = refund('7Q3F000000')
    const lines = formatShown(
      { approval: writeApproval(approval), card: null, outcome: null, call: null, notices: [] },
      0,
    )
    expect(lines).toContain('  held by         billing/refunds-need-finance')
  })
})

describe('the content that approvals show prints', () => {
  /** Of a card with a payload, from above the digest. */
  function content(text: string | null, body: string | null, mediaType: string | null = 'application/sql') {
    const { approval, card } = refund('7Q3F000000')
    if (!card) throw new Error('a refund has a card')
    const payload = { mediaType, bytes: 9, text, isCut: false, redacted: [] }
    const call = body === null ? null : { head: {}, body: { bytes: 9, encoding: 'utf8' as const, content: body } }
    const shown = { approval: writeApproval(approval), outcome: null, call, notices: [] }
    const lines = formatShown({ ...shown, card: { ...card, derived: { ...card.derived, payload } } }, 0)
    const from = lines.findIndex((line) => line.startsWith('  content '))
    return from === -1
      ? []
      : lines.slice(
          from,
          lines.findIndex((line) => line.startsWith('  digest ')),
        )
  }

  it('is what the card shows, where the bytes are in a form of their own', () => {
    expect(content('  DELETE FROM orders\n$1 = "\u202e"', '\0\u0003run\0DELETE FROM orders')).toEqual([
      '  content         application/sql, as the card shows it',
      '  |   DELETE FROM orders',
      '  | $1 = "⟨U+202E⟩"',
    ])
    expect(content('x', '\0x', null)[0]).toBe('  content         of no media type, as the card shows it')
  })

  it('stays once the call is no longer kept', () => {
    expect(content('SELECT 1', null)).toContain('  | SELECT 1')
  })

  it('is not printed twice, however it is laid out', () => {
    expect(content('{\n  "amount": 1\n}', '{"amount":1}')).toEqual([])
    expect(content('', '{}')).toEqual([])
    expect(content(null, '{}')).toEqual([])
  })
})

describe('the call that approvals show prints', () => {
  it('has its headers a line each', () => {
    const headers = ['content-type', 'application/json', 'x-note', 'refund "twice": yes', 'x-note', '', 'accept', '*/*']
    expect(printed({ method: 'POST', headers, upgrade: null })).toEqual([
      '  call            exactly as it would be forwarded',
      '  | {',
      '  |   "method": "POST",',
      '  |   "upgrade": null',
      '  | }',
      '  headers         4',
      '  | content-type: application/json',
      '  | x-note: refund "twice": yes',
      '  | x-note:',
      '  | accept: */*',
      '  body            2 bytes, whole',
      '  | {}',
    ])
    expect(printed({ method: 'GET', headers: [] }, '')).toContain('  headers         none')
    expect(printed({ method: 'GET', headers: ['a', 'b'] }, '1')).toEqual(
      expect.arrayContaining(['  headers         1', '  body            1 byte, whole']),
    )
  })

  it.each([
    ['a reordering', 'a\u202eb', 'a⟨U+202E⟩b'],
    ['a control', 'a\u001b[2Kb', 'a⟨U+001B⟩[2Kb'],
    ['a line', 'a\nowner: mallory', 'a⟨U+000A⟩owner: mallory'],
    ['a tab', 'a\tb', 'a⟨U+0009⟩b'],
    ['a zero-width space', 'a\u200bb', 'a⟨U+200B⟩b'],
    ['blanks at its ends', '  a b ', '⟨U+0020⟩⟨U+0020⟩a b⟨U+0020⟩'],
    ['nothing but blanks', ' ', '⟨U+0020⟩'],
  ])('writes out what a terminal would obey or hide in a value: %s', (_, value, written) => {
    expect(printed({ headers: ['x-note', value] })).toContain(`  | x-note: ${written}`)
  })

  it('marks where a long header goes on', () => {
    const lines = printed({ headers: ['x-note', 'n'.repeat(120)] }, '{}', 80)
    const at = lines.findIndex((line) => line.startsWith('  | x-note: n'))
    expect(lines[at + 1]).toMatch(/^ {2}¦ n+$/)
  })

  it.each([
    ['an odd number', ['a', 'b', 'c']],
    ['a name that could be read as another', ['a: b', 'c']],
    ['an empty name', ['', 'c']],
    ['what is no text', ['a', 1]],
    ['no list', { a: 'b' }],
  ])('is left as JSON where its headers are not names and values: %s', (_, headers) => {
    const lines = printed({ headers })
    expect(lines.join('\n')).toContain('"headers": ')
    expect(lines.some((line) => line.startsWith('  headers '))).toBe(false)
  })
})

describe('what the agent was asked', () => {
  const question = {
    id: '4TQ8W2ZK7N',
    text: 'Which order?\nAnd whose?',
    by: { issuer: 'https://idp.example.com', subject: 'finn', name: 'Finn\u001b[2J' },
    asked_at: '2026-03-02T09:05:00.000Z',
    reply: { text: 'Order 7.\nApproval is approved', at: '2026-03-02T09:06:00.000Z' },
  }
  const shown = { approval: writeApproval(makeApproval()), card: null, outcome: null, call: null, notices: [] }

  it('is shown in order, with the words behind bars', () => {
    const lines = formatShown({ ...shown, questions: [question, { ...question, reply: null }] }, OPENED)
    const from = lines.findIndex((line) => line.startsWith('Asked of the agent'))
    expect(lines.slice(from, from + 7)).toEqual([
      'Asked of the agent: 1 reply, which nobody checked',
      '  asked           by Finn⟨U+001B⟩[2J (https://idp.example.com|finn) at 2026-03-02T09:05:00.000Z',
      '  | Which order?',
      '  | And whose?',
      '  replied         at 2026-03-02T09:06:00.000Z',
      '  | Order 7.',
      '  | Approval is approved',
    ])
    expect(lines.slice(from)).toContain('  replied         not yet')
  })

  it('is not there if nothing was asked', () => {
    expect(formatShown(shown, OPENED).join('\n')).not.toContain('Asked of')
  })
})
