import type { Frame } from '../../../transports/tcp/frames.ts'
import type { Link } from '../../../transports/tcp/link.ts'
import type { UpstreamSession } from '../upstream/open.ts'
import { type Backend, backendType, decodeBackend, type TransactionStatus } from '../wire/backend.ts'
import { Malformed } from '../wire/fields.ts'
import { clientFraming, upstreamFraming } from '../wire/framing.ts'
import { encodeFrontend } from '../wire/frontend.ts'
import { encodeFatal, type Fault } from '../wire/report.ts'
import { copyIn } from './copy-in.ts'
import { type Answer, encodeFailure, encodeQuestions, encodeSync, type Question } from './question.ts'
import { SessionOver } from './session-over.ts'
import { createSlots, type Settled, type Slot } from './slots.ts'
import { ANY_TERMS, noTraffic, type Terms, type Traffic } from './traffic.ts'

export interface Relay {
  /** Where the transaction stands, as the upstream said it last. */
  readonly status: TransactionStatus
  /** Settings, as the upstream said them last. */
  readonly parameters: ReadonlyMap<string, string>
  /** See `Slots`. */
  readonly isOpen: boolean
  readonly hasBegun: boolean
  readonly isSkipping: boolean
  /**
   * Forwards messages, and passes what they are answered with on to the client.
   *
   * @param terms on which it is passed on; all of it, as it is, if they are left out
   * @param traffic where what goes by is counted
   * @throws SessionOver
   */
  forward(messages: readonly Buffer[], slots: readonly Slot[], terms?: Terms, traffic?: Traffic): Promise<Settled>
  /**
   * Asks the upstream something of the gateway's own, in the client's session, without a trace in it. Null if it cannot
   * be asked now: then the transaction has failed.
   *
   * @throws SessionOver
   */
  ask(sql: string, values: readonly string[]): Promise<readonly (readonly (string | null)[])[] | null>
  /**
   * Puts questions one behind the other, whatever the transaction has come to: the answer to the last one, or what the
   * upstream says to the first that it refuses. Those behind that one are skipped. More may be put before it is answered.
   *
   * @throws SessionOver
   */
  put(questions: readonly Question[]): Promise<Answer>
  /**
   * Ends a part of the extended protocol that awaits its Sync, where that ends nothing else: in a transaction block, or
   * while nothing but descriptions were asked for. False if it would.
   *
   * @throws SessionOver
   */
  endPart(): Promise<boolean>
  /**
   * Makes the transaction fail, as it does when a statement of it fails, and ends a part that awaits its Sync.
   *
   * @throws SessionOver
   */
  failTransaction(): Promise<void>
  /** Passes on what the upstream says, until the session is over. */
  run(): Promise<void>
  /** Ends the session; the client is told why, where that is possible. */
  end(why: SessionOver, fault: Fault | null): void
  /** Aborts when the session is over, with a `SessionOver`. */
  readonly over: AbortSignal
}

/** Who is answered: a connection, or whoever takes the messages here. */
export type RelayClient = Pick<
  Link,
  'reframe' | 'take' | 'next' | 'isInside' | 'write' | 'isFull' | 'room' | 'end' | 'destroy' | 'closed'
>

export function createRelay({
  client,
  upstream,
  maxBatchBytes,
  takeRoom,
  onReady,
  onParameter,
}: {
  client: RelayClient
  upstream: UpstreamSession
  maxBatchBytes: number
  /** Asked before a message of the client is read; false if there is no room for so many bytes. */
  takeRoom(bytes: number): boolean
  /** Told where the transaction stands, whenever the upstream says so. */
  onReady(status: TransactionStatus): void
  onParameter(name: string): void
}): Relay {
  const { link } = upstream
  const parameters = new Map(upstream.parameters)
  const slots = createSlots()
  const over = new AbortController()
  let status: TransactionStatus = 'I'
  let traffic = noTraffic()
  let terms = ANY_TERMS
  let isUsedUp = false
  // Of a row that is read whole: whether it goes no further.
  let isKeptBack = false
  // Something was bound since the last Sync: outside of a block, the next one ends it.
  let isBound = false
  let copying: { readonly over: AbortController; readonly done: Promise<void> } | null = null

  link.reframe(upstreamFraming(toPass))
  client.reframe(clientFraming(maxBatchBytes, takeRoom))
  client.closed.addEventListener('abort', () => end(new SessionOver('client', 'the client has left'), null), {
    once: true,
  })

  function toPass(type: Backend['type']): boolean {
    const { current } = slots
    isKeptBack = false
    if (current === null || current.isSilent) return false
    if (type === 'data_row' || type === 'copy_data') {
      if (!slots.mayPass(type)) return false
      isKeptBack = type === 'data_row' && current.filter?.row() === false
      if (isKeptBack) return false
      // Read whole, the row is not passed on.
      isUsedUp ||= !terms.spendRows(1)
      if (isUsedUp) return false
      traffic.rows += 1
      return type === 'copy_data' || (terms.concealer?.isClear ?? true)
    }
    if (type === 'error') slots.take({ type, report: { C: 'XX000' } })
    return true
  }

  async function run(): Promise<void> {
    try {
      while (!over.signal.aborted) {
        const frame = link.take() ?? (await link.next())
        if (frame === null) throw new SessionOver('upstream', 'the upstream has closed the connection')
        takeFrame(frame)
        if (client.isFull) await client.room()
      }
    } catch (error) {
      endBecause(error)
    }
  }

  function endBecause(error: unknown): void {
    if (error instanceof SessionOver) {
      end(error, error.side === 'upstream' ? { code: '08006', message: 'The upstream broke off.' } : null)
      return
    }
    if (!(error instanceof Malformed)) throw error
    const message = 'The upstream said something that the gateway does not understand.'
    end(new SessionOver('upstream', error.message), { code: '08P01', message })
  }

  function takeFrame(frame: Frame): void {
    if (frame.kind === 'fault') throw new Malformed(frame.fault)
    if (frame.kind === 'run') {
      pass(frame.bytes)
      return
    }
    if (isUsedUp) {
      cutOff()
      return
    }
    if (isKeptBack && isRow(frame.bytes)) return
    const { concealer } = terms
    if (concealer && isRow(frame.bytes) && !slots.current?.isSilent && slots.mayPass('data_row')) {
      pass(concealer.conceal(frame.bytes))
      return
    }
    const message = decodeBackend(frame.bytes)
    if (message.type === 'parameter_status') {
      parameters.set(message.name, message.value)
      onParameter(message.name)
    }
    const isAside = message.type === 'parameter_status' || message.type === 'notice' || message.type === 'notification'
    // What the gateway's own questions are commented with is not for the client.
    if (message.type === 'notice' && slots.current?.isSilent) return
    // Code may say in notices whatever it has read.
    if (isAside) pass(frame.bytes)
    else takeAnswer(message, frame.bytes)
  }

  function takeAnswer(message: Backend, bytes: Buffer): void {
    const { isSilent = false, filter } = slots.current ?? {}
    if (message.type === 'ready') {
      status = message.status
      isBound = false
    }
    const hasPlace = slots.take(message)
    if (!hasPlace) throw new Malformed(`${message.type} does not belong here`)
    if (message.type === 'ready') onReady(message.status)
    terms.concealer?.describe(message.type === 'row_description' ? message.columns : null)
    const isHeard = isSilent === false || (isSilent === 'unless_it_fails' && message.type === 'error')
    if (isHeard && filter?.answer(message, bytes) !== false) pass(bytes)
    if (slots.copying === 'in') copying = startCopy(copying?.done)
    else copying?.over.abort()
  }

  function pass(bytes: Buffer): void {
    traffic.bytesOut += bytes.length
    client.write(bytes)
    if (!terms.spendBytes(bytes.length)) cutOff()
  }

  function cutOff(): void {
    const message = 'Cut off. A limit of the rule that allowed this statement ran out.'
    const hint = 'Connect again, and ask for less at a time: fewer rows, or fewer columns.'
    end(new SessionOver('gateway', message), { code: '53400', message, hint })
  }

  /** @param before the copy of the same message that is over, and may be reading still */
  function startCopy(before: Promise<void> = Promise.resolve()): NonNullable<typeof copying> {
    traffic.hasCopied = true
    const stop = new AbortController()
    const parts = { client, upstream: link, traffic, isExtended: () => slots.current?.kind === 'execute' }
    const done = before
      .then(() => copyIn(parts, stop.signal))
      .catch((error: unknown) => {
        if (!(error instanceof Malformed)) return endBecause(error)
        end(new SessionOver('client', error.message), {
          code: '08P01',
          message: `The gateway cannot read this: ${error.message}.`,
        })
      })
    return { over: stop, done }
  }

  async function send(messages: readonly Buffer[], expected: readonly Slot[]): Promise<Settled> {
    over.signal.throwIfAborted()
    const settled = slots.add(expected)
    for (const message of messages) link.write(message)
    const result = await settled
    if (copying) {
      copying.over.abort()
      await copying.done
      copying = null
    }
    return result
  }

  async function put(questions: readonly Question[]): Promise<Answer> {
    // What was only parsed so far is not touched by a Sync; a Flush would make the question the first of a block.
    const { messages, slots: expected, rows } = encodeQuestions(questions, slots.hasBegun ? 'flush' : 'sync')
    const { error } = await send(messages, expected)
    return { rows, error }
  }

  function end(why: SessionOver, fault: Fault | null): void {
    if (over.signal.aborted) return
    over.abort(why)
    slots.fail(why)
    // In the midst of a message that is passed on, anything else would be taken for its rest.
    if (link.isInside || (why.side === 'client' && fault === null)) client.destroy()
    else client.end(fault === null ? undefined : encodeFatal(fault))
    if (client.isInside || why.side === 'upstream') link.destroy()
    else link.end(encodeFrontend({ type: 'terminate' }))
  }

  return {
    get status() {
      return status
    },
    parameters,
    get isOpen() {
      return slots.isOpen
    },
    get hasBegun() {
      return slots.hasBegun
    },
    get isSkipping() {
      return slots.isSkipping
    },
    async forward(messages, expected, given = ANY_TERMS, counted = noTraffic()) {
      traffic = counted
      terms = given
      isBound ||= expected.some(({ kind }) => kind === 'bind' || kind === 'execute')
      try {
        return await send(messages, expected)
      } finally {
        terms = ANY_TERMS
      }
    },
    async ask(sql, values) {
      if (status === 'E' || slots.isSkipping) return null
      const { rows, error } = await put([{ sql, values: values.map((value) => Buffer.from(value)) }])
      return error === null ? rows : null
    },
    put,
    async endPart() {
      if (!slots.isOpen) return true
      if (slots.isSkipping || (isBound && status === 'I')) return false
      const { messages, slots: expected } = encodeSync()
      await send(messages, expected)
      return true
    },
    async failTransaction() {
      const { messages, slots: expected } = slots.isSkipping ? encodeSync() : encodeFailure()
      await send(messages, expected)
    },
    run,
    end,
    over: over.signal,
  }
}

function isRow(message: Buffer): boolean {
  return backendType(message[0] ?? 0) === 'data_row'
}
