import { describe, expect, it } from 'vitest'
import { formatList, formatShown } from '../../src/commands/approval-text.ts'
import { fold } from '../../src/commands/fold.ts'
import type { ShownWire } from '../../src/control/wire.ts'

const COLUMNS = 80

/** What a person sees: rows of a terminal, which breaks a line wherever it is full. */
function rowsOf(lines: readonly string[]): readonly string[] {
  return lines.flatMap((line) => line.match(new RegExp(`.{1,${COLUMNS}}`, 'gsu')) ?? [''])
}

function shownWith({ resource = '/refunds', body = '{}' }): ShownWire {
  return {
    approval: {
      id: '7Q3F000000',
      state: 'pending',
      call_id: 'c',
      requester: {
        issuer: 'https://idp.example.com',
        subject: 'agent-7',
        on_behalf_of: null,
        actors: [],
        owner: { issuer: 'https://idp.example.com', subject: 'mallory' },
        groups: [],
        client: null,
      },
      upstream: 'billing',
      verb: 'POST',
      resource,
      rules: ['billing/refunds'],
      requirements: [{ rule: 'billing/refunds', reviewers: ['group:finance'], quorum: 2, reason_required: false }],
      digest: 'ab'.repeat(32),
      card_hash: 'cd'.repeat(32),
      detached: false,
      created_at: '2026-01-01T00:00:00.000Z',
      expires_at: '2026-01-01T00:15:00.000Z',
      use_by: null,
      decided_at: null,
      reason: null,
      votes: [],
    },
    card: null,
    outcome: null,
    call: { head: {}, body: { bytes: body.length, encoding: 'utf8', content: body } },
    notices: [],
  }
}

const fillUp = (text: string, forged: string) => `${text}${' '.repeat(COLUMNS - text.length)}${forged}`

describe('text of an agent on a terminal', () => {
  it.each([
    ['in a body', { body: fillUp(`{"note":"`, `  owner           https://idp.example.com|olivia`).slice(4) }],
    [
      'in a resource',
      { resource: `/${'%20'.repeat(0)}${' '.repeat(55)}  owner           https://idp.example.com|olivia` },
    ],
    ['in wide characters', { body: `${'付'.repeat(38)}  owner           https://idp.example.com|olivia` }],
  ])('does not go on where our own lines begin, %s', (_where, parts) => {
    for (let shift = -6; shift <= 6; shift++) {
      const spaces = ' '.repeat(Math.max(0, shift + 6))
      const moved = Object.fromEntries(
        Object.entries(parts).map(([name, text]) => [name, text.replace(/ {2}owner/, `${spaces}  owner`)]),
      )
      const rows = rowsOf(fold(formatShown(shownWith(moved), 0), COLUMNS))
      expect(rows.filter((row) => /^\s*owner/.test(row))).toEqual(['  owner           https://idp.example.com|mallory'])
    }
  })

  it('adds no row to a list', () => {
    for (let blanks = 0; blanks < 2 * COLUMNS; blanks++) {
      const { approval } = shownWith({ resource: `/x${' '.repeat(blanks)}AAAAAAAAAA  pending  billing  GET /harmless` })
      const rows = rowsOf(fold(formatList([approval], 0), COLUMNS))
      expect(rows.filter((row) => row.startsWith('AAAAAAAAAA'))).toEqual([])
    }
  })

  it('is all there', () => {
    const body = 'x'.repeat(500)
    const rows = fold(formatShown(shownWith({ body }), 0), COLUMNS)
    expect(rows.join('').replaceAll('  ¦ ', '')).toContain(body)
    expect(rows.filter((row) => row.length > COLUMNS)).toEqual([
      `  digest          ${'ab'.repeat(32)}`,
      `  card hash       ${'cd'.repeat(32)}`,
    ])
  })
})
