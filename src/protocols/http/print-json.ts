import { stringEnd } from '../../domain/strict-json.ts'

/** What is shown of a JSON text, and how much of it. Places are JSON pointers. */
export interface Show {
  text(value: string, at: string): string
  /** Asked of a member whose value could be a secret; what it gives stands in the value's place. */
  instead(name: string, at: string): string | null
  /** Told how many characters are about to be shown. */
  spend(characters: number): void
  /** Asked before each item: nothing of the rest is shown once it says yes. */
  isFull(): boolean
}

/**
 * Pretty-prints JSON that `parseStrictJson` has read: every number as it is written, every key where it stands. Reads no
 * further than there is room.
 */
export function printJson(text: string, show: Show): string {
  const literal = /[^\s,\]}]+/y
  let at = 0
  let isStopped = false

  function skipSpace(): void {
    while (SPACE.has(text.charCodeAt(at))) at++
  }

  function takeString(): string {
    const start = at
    at = stringEnd(text, start)
    const value: unknown = JSON.parse(text.slice(start, at))
    return String(value)
  }

  function takeLiteral(): string {
    literal.lastIndex = at
    const found = literal.exec(text)?.[0] ?? ''
    at += found.length
    return found
  }

  function print(place: string, depth: number): string {
    // Its line: a comma, a line feed and the white space before it.
    show.spend(2 + 2 * depth)
    skipSpace()
    const first = text[at]
    if (first === '"') return JSON.stringify(show.text(takeString(), place))
    if (first === '{' || first === '[') return printItems(first === '{' ? '{}' : '[]', place, depth)
    const found = takeLiteral()
    show.spend(found.length)
    return found
  }

  function printItems(brackets: '{}' | '[]', place: string, depth: number): string {
    const items: string[] = []
    at++
    while (!isStopped) {
      skipSpace()
      if (text[at] === ',') {
        at++
        skipSpace()
      }
      if (text[at] === brackets[1]) {
        at++
        break
      }
      isStopped = show.isFull()
      if (isStopped) break
      const item = brackets === '{}' ? printMember(place, depth + 1) : print(`${place}/${items.length}`, depth + 1)
      items.push(`${'  '.repeat(depth + 1)}${item}`)
    }
    return items.length === 0 ? brackets : `${brackets[0]}\n${items.join(',\n')}\n${'  '.repeat(depth)}${brackets[1]}`
  }

  function printMember(place: string, depth: number): string {
    const name = takeString()
    show.spend(name.length)
    skipSpace()
    at++
    skipSpace()
    const here = `${place}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
    const isTold = /[ntf]/.test(text[at] ?? '') || text.startsWith('""', at)
    const instead = isTold ? null : show.instead(name, here)
    if (instead !== null) skipValue()
    return `${JSON.stringify(name)}: ${instead === null ? print(here, depth) : JSON.stringify(instead)}`
  }

  function skipValue(): void {
    let depth = 0
    do {
      skipSpace()
      const next = text[at]
      if (next === '"') at = stringEnd(text, at)
      else if (next === '{' || next === '[') {
        depth++
        at++
      } else if (next === '}' || next === ']') {
        depth--
        at++
      } else if (next === ',' || next === ':') at++
      else takeLiteral()
    } while (depth > 0)
  }

  return print('', 0)
}

const SPACE = new Set([0x20, 0x09, 0x0a, 0x0d])
