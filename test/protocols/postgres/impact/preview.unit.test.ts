import { afterAll, describe, expect, it } from 'vitest'
import { createPreview, type PreviewParts } from '../../../../src/protocols/postgres/impact/preview.ts'
import { createNamer } from '../../../../src/protocols/postgres/naming/namer.ts'
import { isUnnamed } from '../../../../src/protocols/postgres/naming/statement.ts'
import type { Answer, Question } from '../../../../src/protocols/postgres/relay/question.ts'
import { SessionOver } from '../../../../src/protocols/postgres/relay/session-over.ts'
import { sessionOf } from '../naming/session.ts'

const namer = createNamer()
afterAll(() => namer.stop())

const VIEW = sessionOf({}, { public: { relation: ['orders'] } })
const NOTHING: Answer = { rows: [], error: null }

/** A session upstream that answers the count, and everything else with nothing. */
function upstream(count: () => Answer, more: Partial<PreviewParts['relay']> = {}) {
  const asked: string[] = []
  const ends: string[] = []
  const relay = {
    status: 'I' as const,
    isSkipping: false,
    over: new AbortController().signal,
    endPart: () => Promise.resolve(true),
    end: ({ message }: Error) => void ends.push(message),
    async put(questions: readonly Question[]) {
      asked.push(...questions.map(({ sql }) => sql))
      return questions.at(-1)?.sql.includes('pg_catalog.count') ? count() : NOTHING
    },
    ...more,
  }
  return { relay, asked, ends }
}

async function preview(
  sql: string,
  relay: PreviewParts['relay'],
  { monotonic = (): number => 0, gone = new AbortController().signal } = {},
) {
  const named = await namer.name(sql, VIEW)
  if (isUnnamed(named)) throw new Error(named.message)
  const doings = [{ how: 'run' as const, sql, named, bound: null, meanings: [], maxRows: 0, slot: null }]
  return createPreview({
    doings,
    isDivided: false,
    namer,
    relay,
    view: VIEW,
    record: () => Promise.resolve(),
    monotonic,
    gone,
    role: null,
  })
}

const counted = (rows: string): Answer => ({ rows: [[rows]], error: null })
const refused = (code: string): Answer => ({ rows: [], error: { C: code } })

describe('what is not known is said', () => {
  it.each<[string, () => Answer, string]>([
    ['the upstream takes too long', () => refused('57014'), 'it took too long'],
    ['something is locked', () => refused('55P03'), 'it is locked'],
    ['the role has no right', () => refused('42501'), 'the role may not read it'],
    ['the upstream says no', () => refused('22012'), 'the upstream refused to say (22012)'],
    ['the answer is no number', () => counted('many'), 'the upstream did not say'],
    ['there is no answer', () => NOTHING, 'the upstream did not say'],
    [
      'the session ends',
      () => {
        throw new SessionOver('client', 'gone')
      },
      'the session is over',
    ],
  ])('where %s', async (_, count, why) => {
    const { relay } = upstream(count)
    const made = await preview('DELETE FROM orders', relay)
    expect(await made.rows()).toEqual([null])
    expect((await made.describe(undefined))[0]).toBe(
      `How many rows DELETE public.orders would touch is not known: ${why}.`,
    )
  })

  it('where the time for all of it is over', async () => {
    const { relay, asked } = upstream(() => counted('3'))
    let now = 0
    const made = await preview('DELETE FROM orders', relay, {
      monotonic() {
        now += 3_000
        return now
      },
    })
    expect(await made.rows()).toEqual([null])
    expect(asked.some((sql) => sql.includes('pg_catalog.count'))).toBe(false)
  })

  it('where the client has gone', async () => {
    const { relay, asked } = upstream(() => counted('3'))
    expect(await (await preview('DELETE FROM orders', relay, { gone: AbortSignal.abort() })).rows()).toEqual([null])
    expect(asked).toEqual([])
  })

  it.each([{ status: 'E' as const }, { isSkipping: true }, { endPart: () => Promise.resolve(false) }])(
    'where the session cannot be asked: %j',
    async (more) => {
      const { relay, asked } = upstream(() => counted('3'), more)
      expect(await (await preview('DELETE FROM orders', relay)).rows()).toEqual([null])
      expect(asked).toEqual([])
    },
  )
})

it('asks each thing between BEGIN and ROLLBACK, read-only and within a time', async () => {
  const { relay, asked } = upstream(() => counted('3'))
  expect(await (await preview('DELETE FROM orders', relay)).rows()).toEqual([3])
  expect(asked.slice(-4)).toEqual([
    expect.stringMatching(/^BEGIN .*READ ONLY/),
    expect.stringMatching(
      /'transaction_read_only', 'on', true.*'statement_timeout', '5000', true.*'lock_timeout', '500'/,
    ),
    expect.stringMatching(/^SELECT pg_catalog\.count/),
    'ROLLBACK',
  ])
})

it('counts once, for rules and for people', async () => {
  const { relay, asked } = upstream(() => counted('3'))
  const counts = () => asked.filter((sql) => sql.includes('pg_catalog.count')).length
  const made = await preview('DELETE FROM orders', relay)
  await made.rows()
  await made.describe(undefined)
  expect(counts()).toBe(1)
})

it('ends a session that does not come back to where it was', async () => {
  const { relay, ends } = upstream(() => counted('3'))
  const put = relay.put
  const lost = Object.assign(relay, {
    async put(questions: readonly Question[]) {
      if (questions[0]?.sql === 'ROLLBACK') Object.assign(relay, { status: 'T' })
      return put(questions)
    },
  })
  await (await preview('DELETE FROM orders', lost)).rows()
  expect(ends[0]).toContain('did not come back')
})
