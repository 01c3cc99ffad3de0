import pino from 'pino'
import { describeError, messageOf } from './describe-error.ts'
import { mayHoldSecret, redact, redactText } from './redact.ts'

export type Logger = pino.Logger

const MAX_DEPTH = 6

/**
 * Structured lines of JSON. Nothing that is written carries a credential: every line is taken apart once more just
 * before it is written, whatever call, child logger or library made it.
 */
export function createLogger(options: { level: string; destination?: pino.DestinationStream }): Logger {
  const settings: pino.LoggerOptions = {
    level: options.level,
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    serializers: { err: describeError, error: describeError, cause: describeError, reason: describeError },
    formatters: {
      level: (label) => ({ level: label }),
      log: plainFields,
    },
    hooks: {
      logMethod(args, method) {
        // pino would take an error's own message where none is given.
        const [first, message] = args as readonly unknown[]
        const error = first instanceof Error ? first : toError(first)
        if (error && message === undefined) method.apply(this, [first, messageOf(error)])
        else method.apply(this, args)
      },
      streamWrite: redactLine,
    },
  }
  const log: Logger = options.destination ? pino(settings, options.destination) : pino(settings)
  // pino writes the bindings of children past `formatters.log`; children inherit this in turn.
  const { child } = log
  return Object.assign(log, {
    child(this: Logger, bindings: pino.Bindings, more?: pino.ChildLoggerOptions): Logger {
      return Reflect.apply(child, this, [plainFields(bindings), more])
    },
  })
}

function plainFields(fields: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, toPlain(value)]))
}

function redactLine(line: string): string {
  if (!mayHoldSecret(line)) return line
  try {
    return `${JSON.stringify(redact(JSON.parse(line)))}\n`
  } catch {
    // No line of pino's is unreadable; one that were is still looked through as text.
    return `${redactText(line.trimEnd())}\n`
  }
}

/**
 * What JSON would write as `{}` or byte by byte, as something to read. Objects of other classes are left to the
 * serializers that know them (requests, replies).
 */
function toPlain(value: unknown, depth = 0): unknown {
  if (typeof value === 'bigint') return value.toString()
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Error) return describeError(value)
  if (value instanceof URL) return value.href
  if (value instanceof Headers || value instanceof Map || value instanceof URLSearchParams) {
    return Object.fromEntries([...value].map(([name, inner]) => [String(name), toPlain(inner, depth + 1)]))
  }
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (depth >= MAX_DEPTH) return '[too deep]'
  if (value instanceof Set) return [...value].map((inner) => toPlain(inner, depth + 1))
  if (Array.isArray(value)) return value.map((inner) => toPlain(inner, depth + 1))
  const isPlain = [Object.prototype, null].includes(Object.getPrototypeOf(value))
  if (!isPlain) return value
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, toPlain(inner, depth + 1)]))
}

function toError(fields: unknown): Error | null {
  const error: unknown = typeof fields === 'object' && fields !== null && 'err' in fields ? fields.err : null
  return error instanceof Error ? error : null
}
