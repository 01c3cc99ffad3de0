import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createSlots, type Slot } from '../../../../src/protocols/postgres/relay/slots.ts'
import { backend } from '../wire/arbitrary.ts'

const slot = (kind: Slot['kind'], more: Partial<Slot> = {}): Slot => ({ kind, isSilent: false, ...more })
const report = { C: '22012' }

/** What a server says to each message that succeeds. */
const ANSWERS = {
  parse: [{ type: 'parse_complete' }],
  bind: [{ type: 'bind_complete' }],
  close: [{ type: 'close_complete' }],
  describe_statement: [{ type: 'parameter_description', types: [] }, { type: 'no_data' }],
  describe_portal: [{ type: 'row_description', columns: [] }],
  execute: [
    { type: 'data_row', values: [] },
    { type: 'command_complete', tag: 'SELECT 1' },
  ],
  query: [
    { type: 'row_description', columns: [] },
    { type: 'command_complete', tag: 'SELECT 0' },
    { type: 'empty_query' },
    { type: 'ready', status: 'I' },
  ],
  sync: [{ type: 'ready', status: 'T' }],
} as const

const extended = fc.array(
  fc.constantFrom('parse', 'bind', 'close', 'describe_statement', 'describe_portal', 'execute' as const),
  { maxLength: 10 },
)

test('a batch is over with its last answer, and each message is told when it is done', async () => {
  await fc.assert(
    fc.asyncProperty(extended, async (kinds) => {
      const slots = createSlots()
      const done: number[] = []
      const all = [...kinds, 'sync' as const]
      const over = slots.add(all.map((kind, index) => slot(kind, { completed: () => done.push(index) })))
      for (const kind of all) for (const answer of ANSWERS[kind]) expect(slots.take(answer)).toBe(true)
      expect(await over).toEqual({ error: null })
      expect(slots.current).toBeNull()
      expect(done).toEqual(all.flatMap((kind, index) => (/^(?:parse|bind|close|execute)$/.test(kind) ? [index] : [])))
      expect(slots.isOpen).toBe(false)
    }),
  )
})

test('an error skips everything up to the Sync, and none of that is told to be done', async () => {
  await fc.assert(
    fc.asyncProperty(extended, fc.nat(9), fc.boolean(), async (kinds, at, hasSync) => {
      const failing = Math.min(at, kinds.length)
      const slots = createSlots()
      const done: number[] = []
      const all: Slot['kind'][] = [...kinds, 'execute', ...(hasSync ? (['sync'] as const) : [])]
      const over = slots.add(all.map((kind, index) => slot(kind, { completed: () => done.push(index) })))
      for (const kind of all.slice(0, failing)) for (const answer of ANSWERS[kind]) slots.take(answer)
      expect(slots.take({ type: 'error', report })).toBe(true)
      if (hasSync) expect(slots.take({ type: 'ready', status: 'I' })).toBe(true)
      expect(await over).toEqual({ error: report })
      expect(done.every((index) => index < failing)).toBe(true)
      expect(slots.isSkipping).toBe(!hasSync)
    }),
  )
})

test('what does not belong where it comes is refused, whatever it is', () => {
  fc.assert(
    fc.property(extended, fc.array(backend, { maxLength: 20 }), (kinds, said) => {
      const slots = createSlots()
      slots.add([...kinds, 'sync' as const].map((kind) => slot(kind))).catch(() => {})
      for (const message of said) {
        const { current, copying } = slots
        const isTaken = slots.take(message)
        if (message.type === 'data_row') expect(isTaken).toBe(current?.kind === 'execute' && copying === null)
        if (message.type === 'ready') expect(isTaken).toBe(current?.kind === 'sync')
        if (message.type === 'copy_both' || message.type === 'function_result') expect(isTaken).toBe(false)
        if (current === null && message.type !== 'error') expect(isTaken).toBe(false)
      }
    }),
  )
})

test('each statement of a simple query is told by its place', async () => {
  const slots = createSlots()
  const done: number[] = []
  const over = slots.add([slot('query', { completed: (index) => done.push(index) })])
  for (const answer of ANSWERS.query) slots.take(answer)
  await over
  expect(done).toEqual([0, 1])
})

test('what is awaited fails with the session', async () => {
  const slots = createSlots()
  const over = slots.add([slot('query')])
  slots.fail(new Error('over'))
  await expect(over).rejects.toThrow('over')
})

test('a Sync behind a copy is a part of it', async () => {
  const slots = createSlots()
  const over = slots.add([slot('execute'), slot('sync')])
  expect(slots.take({ type: 'copy_in', format: 'text', columns: [] })).toBe(true)
  expect([slots.copying, slots.isOpen]).toEqual(['in', true])
  expect(slots.take({ type: 'command_complete', tag: 'COPY 1' })).toBe(true)
  expect(await over).toEqual({ error: null })
  expect([slots.current, slots.isOpen]).toEqual([null, true])
})

test('whatever ran is told of: a statement that stops at its row limit, and the one that came to an error', async () => {
  const slots = createSlots()
  const told: string[] = []
  const tell = (name: string): Partial<Slot> => ({
    completed: (index) => told.push(`${name} ${index} completed`),
    failed: (index) => told.push(`${name} ${index} failed`),
  })
  void slots.add([slot('execute', tell('first')), slot('sync'), slot('query', tell('second'))])
  slots.take({ type: 'portal_suspended' })
  slots.take({ type: 'ready', status: 'I' })
  slots.take({ type: 'command_complete', tag: 'SELECT 1' })
  slots.take({ type: 'error', report })
  slots.take({ type: 'ready', status: 'I' })
  void slots.add([slot('bind', tell('third')), slot('execute', tell('fourth')), slot('sync')])
  slots.take({ type: 'error', report })
  expect(told).toEqual(['first 0 completed', 'second 0 completed', 'second 1 failed', 'third 0 failed'])
})

test('something has begun from the first Bind or Execute on, until the Sync', () => {
  const slots = createSlots()
  void slots.add([slot('parse')])
  expect([slots.isOpen, slots.hasBegun]).toEqual([true, false])
  void slots.add([slot('bind')])
  void slots.add([slot('close')])
  expect([slots.isOpen, slots.hasBegun]).toEqual([true, true])
  void slots.add([slot('sync')])
  expect([slots.isOpen, slots.hasBegun]).toEqual([false, false])
})
