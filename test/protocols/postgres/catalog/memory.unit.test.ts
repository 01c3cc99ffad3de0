import { beforeEach, describe, expect, it } from 'vitest'
import type { Mask } from '../../../../src/domain/verdict.ts'
import type { Hidden } from '../../../../src/protocols/postgres/catalog/hidden.ts'
import { type CatalogMemory, createCatalogMemory } from '../../../../src/protocols/postgres/catalog/memory.ts'
import type { Catalog, Wanted } from '../../../../src/protocols/postgres/naming/statement.ts'

const PATH = ['pg_catalog', 'public']
const orders: Wanted = { kind: 'relation', name: 'orders' }
const customers: Wanted = { kind: 'relation', name: 'customers' }

let now: number
let asked: (readonly Wanted[])[]
let answer: readonly string[]
let memory: CatalogMemory

beforeEach(() => {
  now = 0
  asked = []
  answer = ['public']
  memory = createCatalogMemory({ monotonic: () => now })
})

const catalog: Catalog = {
  holders(wanted) {
    asked.push(wanted)
    const told = answer
    return Promise.resolve(wanted.map(() => told))
  },
}

function session(how: { database?: string; isApart?: boolean } = {}): Catalog {
  return memory.before(catalog, { database: how.database ?? 'shop', isApart: () => how.isApart ?? false })
}

describe('the catalog', () => {
  it('is asked once a second for a name, by whoever comes first', async () => {
    expect(await session().holders([orders], PATH)).toEqual([['public']])
    now = 999
    expect(await session().holders([customers, orders], PATH)).toEqual([['public'], ['public']])
    now = 1000
    await session().holders([orders], PATH)
    expect(asked).toEqual([[orders], [customers], [orders]])
  })

  it.each([
    ['in another database', { database: 'other' }, PATH],
    ['on another path', {}, ['public', 'pg_catalog']],
    ['of a session with temporary relations', {}, ['pg_temp_3', ...PATH]],
    ['of a session whose transaction has changed it', { isApart: true }, PATH],
  ])('is asked anew %s', async (_, how, path) => {
    await session().holders([orders], PATH)
    await session(how).holders([orders], path)
    expect(asked).toHaveLength(2)
  })

  it('is not remembered for what only one session sees', async () => {
    await session({ isApart: true }).holders([orders], PATH)
    await session().holders([orders], PATH)
    expect(asked).toHaveLength(2)
  })

  it('is asked again once it has changed, and what it said before that is not kept', async () => {
    await session().holders([orders], PATH)
    const { promise, resolve } = Promise.withResolvers<readonly (readonly string[])[]>()
    const slow: Catalog = { holders: () => promise }
    const asking = memory.before(slow, { database: 'shop', isApart: () => false }).holders([customers], PATH)
    memory.forget()
    resolve([['public']])
    expect(await asking).toEqual([['public']])
    answer = ['app', 'public']
    expect(await session().holders([orders, customers], PATH)).toEqual([answer, answer])
  })

  it('gives what it had said before, however long it takes to ask for the rest', async () => {
    await session().holders([orders], PATH)
    now = 999
    const slow: Catalog = {
      holders(wanted, path) {
        now += 10
        return catalog.holders(wanted, path)
      },
    }
    const asking = memory.before(slow, { database: 'shop', isApart: () => false })
    expect(await asking.holders([orders, customers], PATH)).toEqual([['public'], ['public']])
    expect(asked).toEqual([[orders], [customers]])
  })

  it('is asked for everything once it has changed during a question', async () => {
    await session().holders([orders], PATH)
    const changing: Catalog = {
      async holders(wanted, path) {
        if (wanted.length === 1) memory.forget()
        answer = ['app', 'public']
        return await catalog.holders(wanted, path)
      },
    }
    const asking = memory.before(changing, { database: 'shop', isApart: () => false })
    expect(await asking.holders([orders, customers], PATH)).toEqual([answer, answer])
  })

  it('keeps no more than ten thousand answers', async () => {
    const many = Array.from({ length: 6_000 }, (_, index): Wanted => ({ kind: 'relation', name: `t${index}` }))
    await session().holders(many, PATH)
    await session().holders(
      many.map(({ kind, name }) => ({ kind, name: `${name}x` })),
      PATH,
    )
    expect(await session().holders(many, PATH)).toHaveLength(6_000)
    expect(asked).toHaveLength(3)
  })
})

describe('where masked columns are', () => {
  const email: Mask = { rule: { policy: 'p', rule: 'r' }, schema: 'public', relation: 'customers', column: 'email' }
  const nowhere: Hidden = {
    columns: new Map(),
    names: new Set(),
    relations: new Set(),
    known: new Set(),
    readers: new Set(),
    writers: new Set(),
    missing: [],
  }
  let questions: number
  const ask = (
    how: { database?: string; isApart?: boolean; isBehind?: boolean } = {},
    answer: Hidden | null = nowhere,
  ) =>
    memory.beforeHidden(
      () => {
        questions += 1
        return Promise.resolve(answer)
      },
      {
        database: how.database ?? 'shop',
        isApart: () => how.isApart ?? false,
        isBehind: () => how.isBehind ?? false,
      },
    )
  beforeEach(() => {
    questions = 0
  })

  it('is asked once a second, for the same masks and relations', async () => {
    expect(await ask()([email], ['public.customers'])).toBe(nowhere)
    now = 999
    expect(await ask()([email], ['public.customers'])).toBe(nowhere)
    expect(questions).toBe(1)
    await ask()([{ ...email, column: 'phone' }], ['public.customers'])
    await ask()([email], ['public.orders'])
    await ask({ database: 'other' })([email], ['public.customers'])
    expect(questions).toBe(4)
    now = 1000
    await ask()([email], ['public.customers'])
    expect(questions).toBe(5)
  })

  it.each([
    ['by a session that changed the catalog', ['public.customers'], { isApart: true }],
    ['of temporary relations', ['pg_temp.customers'], {}],
    ['by a session that may see an older one', ['public.customers'], { isBehind: true }],
  ] as const)('is not remembered when it was asked %s', async (_who, tables, how) => {
    await ask(how)([email], tables)
    await ask(how)([email], tables)
    expect(questions).toBe(2)
  })

  it('is not remembered where nothing was told, nor across a change', async () => {
    await ask({}, null)([email], [])
    await ask()([email], [])
    memory.forget()
    await ask()([email], [])
    expect(questions).toBe(3)
    await ask({ isBehind: true })([email], [])
    expect(questions).toBe(3)
  })
})
