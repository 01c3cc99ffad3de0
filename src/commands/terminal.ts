import { createInterface } from 'node:readline/promises'
import type { PersonContext } from './person-context.ts'

/** What a pager shows, if it is told nothing else. */
const USUAL_COLUMNS = 80

interface Streams {
  readonly input: NodeJS.ReadStream
  readonly output: NodeJS.WriteStream
  readonly error: NodeJS.WriteStream
}

/** Where lines go, and who can be asked: questions and answers stay off the output, which may be piped. */
export function openTerminal(
  { input, output, error }: Streams,
  signal: AbortSignal,
): Pick<PersonContext, 'out' | 'err' | 'ask' | 'columns'> {
  return {
    out: (line) => void output.write(`${line}\n`),
    err: (line) => void error.write(`${line}\n`),
    columns: Math.min(...[output, error].map((stream) => (stream.isTTY ? stream.columns : USUAL_COLUMNS))),
    ask: input.isTTY && error.isTTY ? (question) => ask({ input, error }, question, signal) : null,
  }
}

async function ask({ input, error }: Omit<Streams, 'output'>, question: string, signal: AbortSignal): Promise<string> {
  const lines = createInterface({ input, output: error })
  try {
    return await lines.question(question, { signal })
  } finally {
    lines.close()
  }
}
