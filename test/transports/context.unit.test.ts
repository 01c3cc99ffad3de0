import { describe, expect, it } from 'vitest'
import { readContext, readReply } from '../../src/transports/http/context.ts'

describe('readReply', () => {
  // As Node hands over the bytes of a header.
  const read = (value: string) => readReply(new Map([['countersign-reply', Buffer.from(value).toString('latin1')]]))

  it.each([
    ['4TQ8W2ZK7N Order 7.', { question: '4TQ8W2ZK7N', text: 'Order 7.' }],
    [' 4tq8w2zk7n:  two  words ', { question: '4TQ8W2ZK7N', text: 'two  words' }],
    ["UTF-8''4TQ8W2ZK7N%20f%C3%BCr%0AZo%C3%AB%07", { question: '4TQ8W2ZK7N', text: 'für\nZoë' }],
    [`4TQ8W2ZK7N ${'😀'.repeat(3000)}`, { question: '4TQ8W2ZK7N', text: '😀'.repeat(1000) }],
  ])('takes the question and the words: %s', (value, reply) => {
    expect(read(value)).toEqual(reply)
  })

  it.each(['', 'Order 7.', '4TQ8W2ZK7N', '4TQ8W2ZK7N ', '4TQ8W2ZK7N \u0007', '4TQ8W2ZK7Nwords', '4TQ8W2ZK7 words'])(
    'takes nothing else: %j',
    (value) => {
      expect(read(value)).toBeNull()
    },
  )
})

describe('readContext', () => {
  const read = (headers: Record<string, string>, isPromptKept = false) =>
    readContext(new Map(Object.entries(headers)), isPromptKept)

  it('reads what the agent says of itself, capped', () => {
    expect(
      read({
        'countersign-reason': 'x'.repeat(5000),
        'countersign-conversation': 'c-1',
        traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
        baggage: 'other=1,gen_ai.request.model=gpt%2D5;p=1',
      }),
    ).toEqual({
      reason: 'x'.repeat(1000),
      conversation: 'c-1',
      trace: '0af7651916cd43dd8448eb211c80319c',
      model: 'gpt-5',
    })
  })

  it('reads UTF-8 bytes, RFC 8187 and Latin-1', () => {
    expect(read({ 'countersign-reason': Buffer.from('für Zoë').toString('latin1') }).reason).toBe('für Zoë')
    expect(read({ 'countersign-reason': "UTF-8''f%C3%BCr" }).reason).toBe('für')
    expect(read({ 'countersign-reason': 'f\xfcr' }).reason).toBe('für')
  })

  it('keeps no prompt unless told to, and nothing that is empty', () => {
    expect(read({ 'countersign-prompt': 'p', 'countersign-reason': ' \u0001 ', traceparent: 'x' })).toEqual({})
    expect(read({ 'countersign-prompt': 'p' }, true)).toEqual({ prompt: 'p' })
  })
})
