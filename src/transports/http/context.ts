import type { Claimed } from '../../domain/card.ts'
import { MOST_REPLY, type Reply } from '../../domain/question.ts'

const MAX_CHARACTERS = { reason: 1000, model: 200, prompt: 8000, conversation: 200, trace: 100 } as const

/**
 * What the agent says of itself, from its headers. Nothing of it is verified, and none of it is forwarded.
 * @param isPromptKept whether `Countersign-Prompt` is read at all: prompts hold personal data
 */
export function readContext(own: ReadonlyMap<string, string>, isPromptKept: boolean): Claimed {
  const baggage = parseBaggage(own.get('baggage'))
  return {
    ...claim('reason', decodeText(own.get('countersign-reason'))),
    ...claim('model', decodeText(own.get('countersign-model')) ?? baggage.get('gen_ai.request.model')),
    ...claim('prompt', isPromptKept ? decodeText(own.get('countersign-prompt')) : undefined),
    ...claim('conversation', decodeText(own.get('countersign-conversation')) ?? baggage.get('gen_ai.conversation.id')),
    ...claim('trace', traceId(own.get('traceparent'))),
  }
}

/**
 * What the agent replies to a reviewer's question: the question's id, a space, and the words. Null if there is none. The id
 * is there because clients repeat their headers: what was said to one question is not said to the next.
 */
export function readReply(own: ReadonlyMap<string, string>): Reply | null {
  const [, question = '', text = ''] =
    /^\s*([0-9A-Za-z]{10})[\s:]+(\S.*)$/s.exec(decodeText(own.get('countersign-reply')) ?? '') ?? []
  const clean = cleanText(text)
  return clean ? { question: question.toUpperCase(), text: [...clean].slice(0, MOST_REPLY).join('') } : null
}

function claim(name: keyof Claimed & keyof typeof MAX_CHARACTERS, text: string | undefined): Claimed {
  const clean = cleanText(text)
  if (!clean) return {}
  return { [name]: [...clean].slice(0, MAX_CHARACTERS[name]).join('') }
}

function cleanText(text: string | undefined): string | undefined {
  return text?.replace(/(?![\t\n])\p{Cc}/gu, '').trim()
}

/**
 * A header's text: UTF-8 bytes, which Node hands over one character a byte, or `UTF-8''` with escapes (RFC 8187), for
 * clients that can only send ASCII. What is neither is read as Latin-1.
 */
function decodeText(value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  if (/^utf-8'[^']*'/i.test(value)) return decodeEscapes(value.slice(value.indexOf("'", 6) + 1))
  const text = Buffer.from(value, 'latin1')
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(text)
  } catch {
    return value
  }
}

function decodeEscapes(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** W3C Baggage, section 3.2. Only what names a model or a conversation is looked for; other members are not kept. */
function parseBaggage(value: string | undefined): ReadonlyMap<string, string> {
  const found = new Map<string, string>()
  if (value === undefined || !value.includes('gen_ai.')) return found
  for (const member of value.slice(0, 8192).split(',')) {
    const [pair = ''] = member.split(';', 1)
    const equals = pair.indexOf('=')
    if (equals === -1) continue
    const name = pair.slice(0, equals).trim()
    if (name.startsWith('gen_ai.') && !found.has(name)) found.set(name, decodeEscapes(pair.slice(equals + 1).trim()))
  }
  return found
}

/** W3C Trace Context, section 3.2.2. */
function traceId(traceparent: string | undefined): string | undefined {
  return /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}/.exec(traceparent ?? '')?.[1]
}
