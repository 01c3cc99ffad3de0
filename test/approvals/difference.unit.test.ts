import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compareCards, hasSameActions } from '../../src/approvals/difference.ts'
import type { Card, Payload } from '../../src/domain/card.ts'
import { makeCard } from '../channels/slack/samples.ts'

function cardOf(text: string | null, more: Partial<Payload> = {}, derived: Partial<Card['derived']> = {}): Card {
  const payload = { mediaType: 'application/json', bytes: 100, text, isCut: false, redacted: [], ...more }
  return makeCard({ derived: { payload, ...derived } })
}

const json = (value: unknown) => JSON.stringify(value, null, 2)

function changesOf(before: string, now: string) {
  return compareCards(cardOf(before), cardOf(now), 'content').changes
}

describe('what differs between two calls', () => {
  const cases: [string, string, string, object[]][] = [
    [
      'a value',
      json({ amount: 9, to: 'acme' }),
      json({ amount: 900, to: 'acme' }),
      [{ at: '/amount', before: '9', now: '900' }],
    ],
    ['a nested one', json({ a: [{ b: 1 }] }), json({ a: [{ b: 2 }] }), [{ at: '/a/0/b', before: '1', now: '2' }]],
    ['what is new', json({ a: 1 }), json({ a: 1, force: true }), [{ at: '/force', before: null, now: 'true' }]],
    ['what is gone', json({ a: 1, dry_run: true }), json({ a: 1 }), [{ at: '/dry_run', before: 'true', now: null }]],
    ['another type', json({ a: 1 }), json({ a: '1' }), [{ at: '/a', before: '1', now: '"1"' }]],
    [
      'a list in place of an object, beside another change',
      json({ a: { 0: 1 }, b: 1 }),
      json({ a: [1], b: 2 }),
      [
        { at: '/a', before: '{…}', now: '[…]' },
        { at: '/b', before: '1', now: '2' },
      ],
    ],
    ['a number that no double holds', '{"n": 9007199254740993}', '{"n": 9007199254740992}', [{ at: '/n' }]],
    ['an emptied object', json({ a: { b: 1 } }), json({ a: {} }), [{ at: '/a/b', before: '1', now: null }]],
    ['names with slashes', json({ 'a/b': 1 }), json({ 'a/b': 2 }), [{ at: '/a~1b' }]],
    [
      'the query and headers above the body',
      `query "dry": "1"\nheader x-mode: safe\n\n${json({ a: 1 })}`,
      `query "dry": "0"\nheader x-mode: safe\n\n${json({ a: 1 })}`,
      [{ at: 'query "dry"', before: '"1"', now: '"0"' }],
    ],
    ['a scalar', '"yes"', '"no"', [{ at: 'the whole', before: '"yes"', now: '"no"' }]],
    ['text, by its lines', 'one\ntwo\nthree', 'one\n2\nthree', [{ at: 'from line 2', before: 'two', now: '2' }]],
    ['lines that came', 'one\nthree', 'one\ntwo\nthree', [{ at: 'from line 2', before: null, now: 'two' }]],
    [
      'a query named twice, by lines',
      'query "a": "1"\nquery "a": "2"',
      'query "a": "1"\nquery "a": "3"',
      [{ at: 'from line 2' }],
    ],
    ['white space alone', '{"a":1}', '{ "a": 1}', [{ at: 'from line 1' }]],
    ['a payload where there was none', '', json({ a: 1 }), [{ at: 'the whole' }, { at: '/a', before: null, now: '1' }]],
  ]
  it.each(cases)('%s', (_what, before, now, expected) => {
    expect(changesOf(before, now)).toMatchObject(expected)
    expect(changesOf(before, now)).toHaveLength(expected.length)
  })

  it('is nothing in equal ones', () => {
    expect(compareCards(cardOf('{}'), cardOf('{}'), 'none')).toEqual({
      extent: 'none',
      changes: [],
      more: 0,
      unseen: [],
    })
  })

  it('is told of another order of fields, too', () => {
    const { changes, unseen } = compareCards(cardOf('{"a": 1, "b": 2}'), cardOf('{"b": 2, "a": 1}'), 'content')
    expect([changes, unseen]).toEqual([[], ['order', 'off_card']])
  })

  it('is told of what stands around the payload', () => {
    const rules = [{ name: 'billing/other', message: null }]
    const now = cardOf('{}', { mediaType: 'text/plain' }, { labels: { environment: 'test' }, rules })
    expect(compareCards(cardOf('{}'), now, 'content').changes).toEqual([
      { at: 'labels', before: 'environment=production', now: 'environment=test' },
      { at: 'held by', before: 'billing/refunds-need-finance', now: 'billing/other' },
      { at: 'media type', before: 'application/json', now: 'text/plain' },
    ])
  })

  it.each([
    [
      'secrets that were replaced',
      cardOf('{"token": "[redacted]"}', { redacted: ['/token'], isCut: true }),
      ['hidden', 'off_card'],
    ],
    ['what was cut', cardOf('{"a": [', { isCut: true }), ['hidden', 'off_card']],
    ['what is not text', cardOf(null, { isCut: true }), ['not_text', 'off_card']],
  ])('does not pass over %s', (_what, card, unseen) => {
    expect(compareCards(card, card, 'content')).toMatchObject({ changes: [], unseen })
    expect(compareCards(cardOf('{}'), card, 'content').unseen).toEqual(unseen)
  })

  it('shows of long values what differs, not what is the same', () => {
    const same = 'x'.repeat(5000)
    const [change] = changesOf(json({ sql: `${same} LIMIT 1` }), json({ sql: `${same} LIMIT 100000` }))
    expect(change?.before).toContain('LIMIT 1"')
    expect(change?.now).toContain('LIMIT 100000')
    for (const side of [change?.before, change?.now]) expect(side?.length).toBeLessThan(300)
    const [begun] = changesOf(json({ a: 'b' }), json({ a: 'c'.repeat(9000) }))
    expect(begun?.now).toHaveLength(201)
  })

  it('lists no more than twenty changes, and counts the others', () => {
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`field-${index}`, index]))
    const { changes, more } = compareCards(cardOf('{}'), cardOf(json(many)), 'content')
    expect([changes.length, more]).toEqual([20, 30])
  })

  it.each([
    ['nested deeper than anybody reads', '['.repeat(20_000), '['.repeat(19_999)],
    ['cut off in a string', '{"a": "b', '{"a": "c'],
    ['cut off after a name', '{"a"', '{"b"'],
    ['a stray end', '}', ']'],
    ['more behind the end', '{} {}', '{} []'],
    ['nothing between commas', '[1,,2]', '[1,,3]'],
    ['half of a surrogate pair at the cut', `${'\u{1f600}'.repeat(150)}a`, `${'\u{1f600}'.repeat(150)}b`],
  ])('takes whatever a card may show: %s', (_what, before, now) => {
    const changes = changesOf(before, now)
    expect(changes).toHaveLength(1)
    for (const { before: old, now: current } of changes) expect(`${old}${current}`.isWellFormed()).toBe(true)
  })

  it('never says nothing of two payloads that differ, and never too much', () => {
    const text = fc.oneof(
      fc.json().map((one) => JSON.stringify(JSON.parse(one), null, 2)),
      fc.json({ maxDepth: 2 }),
      fc.string({ unit: 'binary', maxLength: 500 }),
    )
    fc.assert(
      fc.property(text, text, (before, now) => {
        const { changes, more, unseen } = compareCards(cardOf(before), cardOf(now), 'content')
        expect(changes.length > 0 || unseen.includes('order')).toBe(before !== now)
        expect(changes.length + more > 20).toBe(more > 0)
        for (const side of changes.flatMap((one) => [one.at, one.before ?? '', one.now ?? ''])) {
          expect(side.length).toBeLessThan(210)
          expect(side.isWellFormed()).toBe(true)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('tells every value that differs in JSON of the same form', () => {
    const names = fc.uniqueArray(fc.string({ minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 15 })
    fc.assert(
      fc.property(names, fc.nat(), (fields, pick) => {
        const of = (changed: number) =>
          json(fields.map((name, index) => ({ [name]: index === changed ? 'new' : 'old' })))
        const at = pick % fields.length
        expect(changesOf(of(-1), of(at))).toMatchObject([{ before: '"old"', now: '"new"' }])
      }),
    )
  })

  it('knows the same actions, in the same order', () => {
    const some = [
      { verb: 'INSERT', resource: 'a' },
      { verb: 'DELETE', resource: 'b' },
    ]
    const of = (actions: typeof some) => cardOf('', {}, { actions })
    expect(hasSameActions(of(some), of(some.slice()))).toBe(true)
    expect(hasSameActions(of(some), of(some.toReversed()))).toBe(false)
    expect(hasSameActions(of(some), of(some.slice(0, 1)))).toBe(false)
  })
})
