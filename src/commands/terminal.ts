import { createInterface } from 'node:readline/promises'
import type { PersonContext } from './person-context.ts'

/** Of a terminal that does not know its own: some say that they have none. */
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
  for (const stream of [output, error]) stream.on('error', ignoreLeaving)
  return {
    out: (line) => void output.write(`${line}\n`),
    err: (line) => void error.write(`${line}\n`),
    columns: { out: columnsOf(output), err: columnsOf(error) },
    ask: input.isTTY && error.isTTY ? (question) => ask({ input, error }, question, signal) : null,
  }
}

/** Whoever reads may have had enough (`| head`): what was begun is done all the same, and its exit code says how. */
function ignoreLeaving(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
}

/** Infinity where there is no terminal: what is piped is read by programs, and a fold would hide words from them. */
export function columnsOf({ isTTY, columns }: Pick<NodeJS.WriteStream, 'isTTY' | 'columns'>): number {
  if (!isTTY) return Number.POSITIVE_INFINITY
  return columns > 0 ? columns : USUAL_COLUMNS
}

async function ask({ input, error }: Omit<Streams, 'output'>, question: string, signal: AbortSignal): Promise<string> {
  const lines = createInterface({ input, output: error })
  try {
    return await lines.question(question, { signal })
  } finally {
    lines.close()
  }
}
