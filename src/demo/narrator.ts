import { styleText } from 'node:util'

type Format = Parameters<typeof styleText>[0]

/** Who a line is about. */
export type Actor = 'agent' | 'gateway' | 'upstream' | 'owner' | 'reviewer' | 'auditor' | 'operator'

const FORMATS: Readonly<Record<Actor, Format>> = {
  agent: 'magenta',
  gateway: 'cyan',
  upstream: 'blue',
  owner: 'yellow',
  reviewer: 'yellow',
  auditor: 'yellow',
  operator: 'yellow',
}
const LABEL_WIDTH = 11
const MAX_WIDTH = 100

/** Tells the story, line by line; with colours on a terminal only. */
export interface Narrator {
  /** What comes next. */
  chapter(title: string): void
  /** What somebody does, or says. */
  line(actor: Actor, text: string): void
  /** What turned out to be as it should. */
  proof(text: string): void
  /** What stands by itself: something to type, a page to open. */
  literal(lines: readonly string[]): void
  note(text: string): void
  /** What a command printed, as it did. */
  quote(output: string): void
  /** What went wrong. */
  failure(text: string): void
}

export function createNarrator(stream: NodeJS.WriteStream): Narrator {
  const style = (format: Format, text: string): string => styleText(format, text, { stream })

  function write(label: string, text: string): void {
    const [first = '', ...rest] = wrap(text, MAX_WIDTH - LABEL_WIDTH - 2)
    const indent = ' '.repeat(LABEL_WIDTH + 2)
    stream.write([`  ${label}${first}`, ...rest.map((line) => indent + line)].map((line) => `${line}\n`).join(''))
  }

  return {
    chapter: (title) => void stream.write(`\n${style('bold', title)}\n`),
    line: (actor, text) => write(style(FORMATS[actor], actor.padEnd(LABEL_WIDTH)), text),
    proof: (text) => write(style('green', '✓'.padEnd(LABEL_WIDTH)), text),
    literal: (lines) => void stream.write(`\n${lines.map((line) => `      ${style('bold', line)}\n`).join('')}\n`),
    note(text) {
      for (const line of wrap(text, MAX_WIDTH - 2)) stream.write(`  ${line}\n`)
    },
    quote: (output) => void stream.write(output.replace(/^/gm, ' '.repeat(LABEL_WIDTH + 2)).concat('\n')),
    failure: (text) => write(style('red', '✗'.padEnd(LABEL_WIDTH)), text),
  }
}

function wrap(text: string, width: number): readonly string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    const isFull = line !== '' && line.length + 1 + word.length > width
    if (isFull) lines.push(line)
    line = line === '' || isFull ? word : `${line} ${word}`
  }
  return [...lines, line]
}
