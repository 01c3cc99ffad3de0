import type { Backend, Report } from '../wire/backend.ts'

/** What a message that was forwarded is answered with. */
export interface Slot {
  readonly kind: 'parse' | 'bind' | 'close' | 'describe_statement' | 'describe_portal' | 'execute' | 'query' | 'sync'
  /** Where the answer goes: to the client, or to somebody here who asked; who may do so before what the client asks. */
  readonly isSilent: boolean | 'unless_it_fails'
  /** Each statement that is over, or has stopped at its row limit, by its place in the message, from 0 on. */
  completed?(index: number): void
  /** The one that came to an error: some of what it did may stay. */
  failed?(index: number): void
  /** Each row, of a silent one. */
  row?(values: readonly (Buffer | null)[]): void
  /** Whether an answer, or one more row, goes on to the client; all of it does if left out. */
  readonly filter?: Filter
}

export interface Filter {
  row(): boolean
  answer(message: Backend, bytes: Buffer): boolean
}

/** What became of the slots that were taken together. */
export interface Settled {
  /** The first error among the answers. */
  readonly error: Report | null
}

type Copying = 'in' | 'out' | null

/**
 * The order in which a server answers (PostgreSQL 18, chapter 54.2), followed message by message. Pure. What does not
 * belong where it comes is not passed on: the connection is no longer what it was taken for.
 */
export interface Slots {
  /** Adds what was forwarded; the promise resolves once all of it was answered, or skipped because of an error. */
  add(slots: readonly Slot[]): Promise<Settled>
  /** Takes an answer. False if it does not belong here. */
  take(message: Backend): boolean
  /** Whether rows, or data of a copy, may come now. */
  mayPass(type: Backend['type']): boolean
  /** Whose answer is awaited. */
  readonly current: Slot | null
  readonly copying: Copying
  /** After an error in the extended protocol, a server reads nothing until a Sync. */
  readonly isSkipping: boolean
  /** Whether messages of the extended protocol were forwarded, and no Sync after them. */
  readonly isOpen: boolean
  /** Whether a Bind or an Execute is among them: to a server the next Execute makes a transaction block of it. */
  readonly hasBegun: boolean
  /** What is awaited will not be answered any more. */
  fail(error: Error): void
}

interface Waiting {
  readonly slot: Slot
  readonly group: Group
}

interface Group {
  left: number
  error: Report | null
  readonly resolve: (settled: Settled) => void
  readonly reject: (error: Error) => void
}

export function createSlots(): Slots {
  const queue: Waiting[] = []
  let copying: Copying = null
  let isSkipping = false
  let isOpen = false
  let hasBegun = false
  // Of the slot that is first: statements that are over, and whether parameters were described.
  let completed = 0
  let hasParameters = false

  function done(): void {
    const first = queue.shift()
    completed = 0
    hasParameters = false
    copying = null
    if (first) leave(first.group)
  }

  function leave(group: Group): void {
    group.left -= 1
    if (group.left === 0) group.resolve({ error: group.error })
  }

  function complete(slot: Slot): void {
    slot.completed?.(completed)
    completed += 1
    if (slot.kind === 'execute') done()
  }

  function takeError(report: Report): boolean {
    const first = queue[0]
    // Between calls a server says only that it ends.
    if (!first) return true
    first.group.error ??= report
    first.slot.failed?.(completed)
    copying = null
    if (first.slot.kind === 'query' || first.slot.kind === 'sync') return true
    // Everything up to the Sync is skipped.
    while (queue[0] && queue[0].slot.kind !== 'sync') {
      const skipped = queue[0]
      skipped.group.error ??= report
      done()
    }
    isSkipping = queue.length === 0
    return true
  }

  /** What follows an Execute that began a copy was read, and dropped, as a part of the copy. */
  function dropSync(): boolean {
    while (queue.length > 1) {
      const [next] = queue.splice(1, 1)
      if (!next) break
      if (next.slot.kind !== 'sync') return false
      isOpen = true
      hasBegun = true
      leave(next.group)
    }
    return true
  }

  function take(message: Backend): boolean {
    const slot = queue[0]?.slot
    if (message.type === 'error') return takeError(message.report)
    if (!slot) return false
    const isRunning = slot.kind === 'execute' || slot.kind === 'query'
    switch (message.type) {
      case 'parse_complete':
        return answers(slot, 'parse')
      case 'bind_complete':
        return answers(slot, 'bind')
      case 'close_complete':
        return answers(slot, 'close')
      case 'parameter_description':
        if (slot.kind !== 'describe_statement' || hasParameters) return false
        hasParameters = true
        return true
      case 'no_data':
      case 'row_description':
        if (slot.kind === 'query') return message.type === 'row_description' && copying === null
        if (slot.kind === 'describe_statement' && !hasParameters) return false
        if (slot.kind !== 'describe_statement' && slot.kind !== 'describe_portal') return false
        done()
        return true
      case 'data_row':
        if (!mayPass('data_row')) return false
        slot.row?.(message.values)
        return true
      case 'copy_in':
      case 'copy_out':
        if (!isRunning || copying !== null) return false
        copying = message.type === 'copy_in' ? 'in' : 'out'
        return slot.kind === 'query' || copying === 'out' || dropSync()
      case 'copy_done':
        if (copying !== 'out') return false
        copying = null
        return true
      case 'command_complete':
      case 'empty_query':
        if (!isRunning || copying === 'out') return false
        copying = null
        complete(slot)
        return true
      case 'portal_suspended':
        if (slot.kind !== 'execute' || copying !== null) return false
        complete(slot)
        return true
      case 'ready':
        if ((slot.kind !== 'sync' && slot.kind !== 'query') || copying !== null) return false
        done()
        return true
      case 'authentication':
      case 'backend_key':
      case 'copy_both':
      case 'copy_data':
      case 'function_result':
      case 'negotiate_version':
      case 'notice':
      case 'notification':
      case 'parameter_status':
        return false
    }
  }

  function answers(slot: Slot, kind: Slot['kind']): boolean {
    if (slot.kind !== kind) return false
    slot.completed?.(0)
    done()
    return true
  }

  function mayPass(type: Backend['type']): boolean {
    const kind = queue[0]?.slot.kind
    if (kind !== 'execute' && kind !== 'query') return false
    return type === 'data_row' ? copying === null : type === 'copy_data' && copying === 'out'
  }

  return {
    add(slots) {
      return new Promise((resolve, reject) => {
        const group: Group = { left: slots.length, error: null, resolve, reject }
        for (const slot of slots) {
          queue.push({ slot, group })
          if (slot.kind === 'sync') isSkipping = false
          isOpen = slot.kind !== 'sync' && slot.kind !== 'query'
          hasBegun = isOpen && (hasBegun || slot.kind === 'bind' || slot.kind === 'execute')
        }
        if (slots.length === 0) resolve({ error: null })
      })
    },
    take,
    mayPass,
    get current() {
      return queue[0]?.slot ?? null
    },
    get copying() {
      return copying
    },
    get isSkipping() {
      return isSkipping
    },
    get isOpen() {
      return isOpen
    },
    get hasBegun() {
      return hasBegun
    },
    fail(error) {
      const groups = new Set(queue.splice(0).map(({ group }) => group))
      for (const group of groups) group.reject(error)
    },
  }
}
