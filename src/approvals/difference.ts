import type { Card } from '../domain/card.ts'
import type { Change, Difference, Unseen } from '../domain/precedent.ts'
import { stringEnd } from '../domain/strict-json.ts'
import { cut } from '../domain/visible.ts'

const MOST_CHANGES = 20
const MOST_VALUE = 200
const MOST_NAME = 120
/** Of a long value so much is kept in front of where it begins to differ. */
const RUN_UP = 20
/** A payload that is nested deeper is compared by its lines. */
const MOST_DEPTH = 200

/** The fields of something, by name; what stands under a name is its text. */
type Fields = ReadonlyMap<string, string>

/**
 * What is different in the later of two calls, by their cards, on which secrets are replaced already. `extent` is told by
 * what binds the bytes themselves: nothing that cards leave out makes two calls the same. Bounded, whatever agents sent.
 */
export function compareCards(before: Card, now: Card, extent: Difference['extent']): Difference {
  const { changes, isReordered } = comparePayloads(before.derived.payload?.text ?? '', now.derived.payload?.text ?? '')
  const around = changesOf(fieldsAround(before), fieldsAround(now)).changes
  const all = [...around, ...changes, ...compareSizes(before, now)]
  return {
    extent,
    changes: all.slice(0, MOST_CHANGES).map(shorten),
    more: Math.max(0, all.length - MOST_CHANGES),
    unseen: extent === 'none' ? [] : findUnseen([before, now], isReordered),
  }
}

/** Whether two calls would do the same things, whatever their content. */
export function hasSameActions(a: Card, b: Card): boolean {
  const [some, others] = [a.derived.actions, b.derived.actions]
  return (
    some.length === others.length &&
    some.every(({ verb, resource }, index) => verb === others[index]?.verb && resource === others[index]?.resource)
  )
}

function fieldsAround({ verified, derived, needed }: Card): Fields {
  return new Map([
    ['groups', verified.groups.join(', ')],
    [
      'labels',
      Object.entries(derived.labels)
        .map((pair) => pair.join('='))
        .join(', '),
    ],
    ['held by', derived.rules.map(({ name }) => name).join(', ')],
    ['needs', needed.map(({ reviewers, quorum }) => `${quorum} of ${reviewers.join(', ')}`).join('; ')],
    ['media type', derived.payload?.mediaType ?? ''],
  ])
}

/** Where a card does not show all of a payload, how long it is says something. */
function compareSizes(before: Card, now: Card): readonly Change[] {
  const [old, current] = [before.derived.payload, now.derived.payload]
  const isShort = [old, current].some((payload) => payload && (payload.text === null || payload.isCut))
  if (!isShort || old?.bytes === current?.bytes) return []
  return [{ at: 'bytes', before: String(old?.bytes ?? 0), now: String(current?.bytes ?? 0) }]
}

function findUnseen(cards: readonly Card[], isReordered: boolean): readonly Unseen[] {
  const payloads = cards.flatMap(({ derived }) => derived.payload ?? [])
  const isBlind = payloads.some(({ text, bytes }) => text === null && bytes > 0)
  return [
    ...(isReordered ? (['order'] as const) : []),
    ...(payloads.some(({ isCut, text }) => isCut && text !== null) ? (['hidden'] as const) : []),
    ...(isBlind ? (['not_text'] as const) : []),
    'off_card',
  ]
}

interface Found {
  readonly changes: readonly Change[]
  readonly isReordered: boolean
}

/** Field by field where both can be read so; else, and where that finds nothing in two texts that differ, by lines. */
function comparePayloads(before: string, now: string): Found {
  if (before === now) return { changes: [], isReordered: false }
  const [old, current] = [readFields(before), readFields(now)]
  const found = old && current ? changesOf(old, current) : null
  if (found && (found.changes.length > 0 || found.isReordered)) return found
  return { changes: [compareLines(before.split('\n'), now.split('\n'))], isReordered: false }
}

function changesOf(before: Fields, now: Fields): Found {
  const changes: Change[] = []
  for (const [at, value] of now) {
    const old = before.get(at) ?? null
    if (old !== value) changes.push({ at, before: old, now: value })
  }
  for (const [at, value] of before) if (!now.has(at)) changes.push({ at, before: value, now: null })
  const common = [...before.keys()].filter((at) => now.has(at))
  const same = [...now.keys()].filter((at) => before.has(at))
  return { changes, isReordered: common.some((at, index) => at !== same[index]) }
}

/** All between the first and the last line that differ. */
function compareLines(before: readonly string[], now: readonly string[]): Change {
  const most = Math.min(before.length, now.length)
  let first = 0
  while (first < most && before[first] === now[first]) first++
  let last = 0
  while (last < most - first && before.at(-1 - last) === now.at(-1 - last)) last++
  const between = (lines: readonly string[]) => lines.slice(first, lines.length - last)
  const [old, current] = [between(before), between(now)]
  return {
    at: `from line ${first + 1}`,
    before: old.length === 0 ? null : old.join('\n'),
    now: current.length === 0 ? null : current.join('\n'),
  }
}

const HEAD = /^(?:(path|upgrade) (.*)|query ("(?:[^"\\]|\\.)*"): (.*)|header ([^:]+): (.*))$/

/** Reads what a card shows of a call: lines about its head, then JSON. Null if it is anything else. */
function readFields(text: string): Fields | null {
  const fields = new Map<string, string>()
  const bare = text === '' ? [] : text.split('\n')
  let at = 0
  for (const line of bare) {
    const found = HEAD.exec(line)
    if (!found) break
    const [, word, said, query, asked, header, value] = found
    const name = word ?? (query === undefined ? `header ${header}` : `query ${query}`)
    if (!add(fields, name, said ?? asked ?? value ?? '')) return null
    at += line.length + 1
  }
  if (at >= text.length) return fields
  return readJson(text, at, fields) ? fields : null
}

/** False if there is one of that name: then the names do not tell the fields apart. */
function add(fields: Map<string, string>, name: string, value: string): boolean {
  if (fields.has(name)) return false
  fields.set(name, value)
  return true
}

/** Adds every value to the fields, by its JSON pointer and as it is written. False if it is not JSON to its end. */
function readJson(text: string, start: number, fields: Map<string, string>): boolean {
  let at = start
  const literal = /[^\s,\]}:"[{]+/y
  const isRead = read('', 0)
  skipSpace()
  return isRead && at === text.length

  function read(place: string, depth: number): boolean {
    skipSpace()
    const first = text[at]
    if (first === '{' || first === '[') return depth < MOST_DEPTH && readItems(first, place, depth)
    const from = at
    if (first === '"') at = stringEnd(text, at)
    else {
      literal.lastIndex = at
      at += literal.exec(text)?.[0].length ?? 0
    }
    return at > from && at <= text.length && add(fields, place, text.slice(from, at))
  }

  function readItems(open: '{' | '[', place: string, depth: number): boolean {
    const close = open === '{' ? '}' : ']'
    // That it is the one or the other is something to compare, too.
    if (!add(fields, place, open === '{' ? '{…}' : '[…]')) return false
    at++
    for (let index = 0; ; index++) {
      skipSpace()
      if (text[at] === close) {
        at++
        return true
      }
      if (index > 0 && !take(',')) return false
      const name = open === '{' ? takeName() : String(index)
      if (name === null || !read(`${place}/${name}`, depth + 1)) return false
    }
  }

  function takeName(): string | null {
    skipSpace()
    if (text[at] !== '"') return null
    const from = at
    at = stringEnd(text, at)
    const name = text.slice(from + 1, at - 1)
    skipSpace()
    return take(':') ? name.replaceAll('~', '~0').replaceAll('/', '~1') : null
  }

  function take(mark: string): boolean {
    if (text[at] !== mark) return false
    at++
    return true
  }

  function skipSpace(): void {
    while (text[at] === ' ' || text[at] === '\n') at++
  }
}

/** So that what differs is in what is kept. */
function shorten({ at, before, now }: Change): Change {
  let same = 0
  if (before !== null && now !== null) while (same < before.length && before[same] === now[same]) same++
  const from = same > 2 * RUN_UP ? same - RUN_UP : 0
  return { at: shortName(at === '' ? 'the whole' : at), before: part(before, from), now: part(now, from) }
}

function part(text: string | null, from: number): string | null {
  if (text === null) return null
  const kept = cut(text.slice(from), MOST_VALUE)
  return `${from > 0 ? '…' : ''}${kept}${from + kept.length < text.length ? '…' : ''}`.toWellFormed()
}

function shortName(name: string): string {
  if (name.length <= MOST_NAME) return name
  return `${name.slice(0, MOST_NAME / 2)}…${name.slice(-MOST_NAME / 2)}`.toWellFormed()
}
