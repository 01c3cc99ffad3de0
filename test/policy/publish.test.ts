import { createSecretKey, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pg from 'pg'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Entry } from '../../src/domain/entry.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { createMetrics } from '../../src/platform/metrics.ts'
import { formatProblem, type Problem } from '../../src/platform/yaml.ts'
import { type CompileContext, compile } from '../../src/policy/compile.ts'
import { decide } from '../../src/policy/decide.ts'
import { openPolicyMark, type PolicyMark } from '../../src/policy/mark.ts'
import { isProblems } from '../../src/policy/problem.ts'
import { createPolicyStore, type PolicyStore } from '../../src/policy/publish.ts'
import { createPublishedSets } from '../../src/policy/published.ts'
import type { PolicySource } from '../../src/policy/source.ts'
import { createTestDatabase, type TestDatabase } from '../postgres.ts'
import { CONTEXT, describeCall, sourceOf } from './world.ts'

const log = createLogger({ level: 'silent' })
const policy = (effect: string, upstream = 'billing') =>
  `name: p\nrules:\n  - { name: r, upstreams: [${upstream}], effect: ${effect} }\n`

let store: TestDatabase
let replicas: PolicyStore[]
const keys = secret('m1')

beforeEach(async () => {
  store = await createTestDatabase()
  replicas = []
})
afterEach(async () => {
  await Promise.all(replicas.map((replica) => replica.stop()))
  await store.close()
})

function secret(kid: string) {
  const current = { kid, key: createSecretKey(randomBytes(32)) }
  return { kid, current, previous: null }
}

/** A gateway process, with the policies on its disk and the entries it appends. */
function startReplica(
  texts: readonly string[],
  more: { context?: CompileContext; keys?: Parameters<typeof createPublishedSets>[0]; mark?: PolicyMark } = {},
) {
  const entries: Entry[] = []
  const metrics = createMetrics()
  const disk: { source: PolicySource | readonly Problem[]; auditFails: boolean } = {
    source: sourceOf(...texts),
    auditFails: false,
  }
  const appended = (some: readonly Entry[]) => {
    if (disk.auditFails) throw new Error('the log is down')
    entries.push(...some)
    return Promise.resolve({ seq: entries.length, hash: '', epoch: 0 })
  }
  const replica = createPolicyStore({
    database: store.database,
    keys: more.keys ?? keys,
    mark: more.mark ?? noMark(),
    audit: {
      append: async (entry) => appended([entry]),
      within: async (tx, some) => {
        await tx.query('SELECT 1')
        return appended(some)
      },
    },
    load: () => Promise.resolve(disk.source),
    compile: (source) => compile(source, more.context ?? CONTEXT),
    clock: { now: () => Date.UTC(2026, 0, 1) },
    log,
    metrics,
  })
  replicas.push(replica)
  const metric = async (name: string) => (await metrics.registry.getSingleMetric(name)?.get())?.values[0]?.value
  return { replica, entries, disk, metric }
}

/** Of a process that none came before. */
function noMark(): PolicyMark {
  let version = 0
  return {
    read: async () => version,
    write: async (next) => {
      version = next
    },
  }
}

async function asSuperuser(sql: string, params: unknown[] = []): Promise<void> {
  const client = new pg.Client({ connectionString: store.adminUrl })
  await client.connect()
  try {
    await client.query(sql, params)
  } finally {
    await client.end()
  }
}

function goodSource(...texts: readonly string[]): PolicySource {
  const source = sourceOf(...texts)
  if (isProblems(source)) throw new Error(source.map(formatProblem).join())
  return source
}

const versionOf = (replica: PolicyStore) => replica.active()?.version ?? null
const effectOf = (replica: PolicyStore) => {
  const set = replica.active()
  return set ? decide(set, describeCall({})).effect : null
}

describe('a start', () => {
  it('publishes what was never published, with its entry', async () => {
    const { replica, entries, metric } = startReplica([policy('allow')])
    expect(replica.active()).toBeNull()
    expect(replica.whyNone()).toBe('no policy was published yet')
    expect(await replica.publishAtStart('serve at a')).toEqual({ result: 'published', version: 1 })
    expect(versionOf(replica)).toBe(1)
    expect(effectOf(replica)).toBe('allow')
    expect(replica.whyNone()).toBeNull()
    expect(entries).toEqual([
      {
        kind: 'policy_published',
        policyVersion: 1,
        reason: 'serve at a',
        detail: { hash: goodSource(policy('allow')).hash, trigger: 'start', policies: 1, rules: 1 },
      },
    ])
    expect(await metric('countersign_policy_version')).toBe(1)
  })

  it('follows, where the same was published already', async () => {
    await startReplica([policy('allow')]).replica.publishAtStart('a')
    const { replica, entries } = startReplica([policy('allow')])
    expect(await replica.publishAtStart('b')).toEqual({ result: 'known', version: 1, isActive: true })
    expect(versionOf(replica)).toBe(1)
    expect(entries).toEqual([])
  })

  it('of an old replica does not bring the old policy back', async () => {
    await startReplica([policy('allow')]).replica.publishAtStart('old')
    await startReplica([policy('deny')]).replica.publishAtStart('new')
    const { replica, entries } = startReplica([policy('allow')])
    expect(await replica.publishAtStart('old again')).toEqual({ result: 'known', version: 1, isActive: false })
    expect(versionOf(replica)).toBe(2)
    expect(effectOf(replica)).toBe('deny')
    expect(entries).toEqual([])
    expect(await replica.reload('old, by SIGHUP')).toEqual({ result: 'known', version: 1, isActive: false })
  })

  it('of many replicas at once publishes once', async () => {
    const all = Array.from({ length: 6 }, () => startReplica([policy('allow')]))
    const results = await Promise.all(all.map(({ replica }) => replica.publishAtStart('x')))
    expect(results.filter(({ result }) => result === 'published')).toHaveLength(1)
    expect(all.map(({ replica }) => versionOf(replica))).toEqual([1, 1, 1, 1, 1, 1])
    expect(all.flatMap(({ entries }) => entries)).toHaveLength(1)
  })

  it('with policies that are wrong follows what is active, and says so', async () => {
    await startReplica([policy('allow')]).replica.publishAtStart('a')
    const { replica, entries, metric } = startReplica([policy('permit')])
    expect((await replica.publishAtStart('b')).result).toBe('refused')
    expect(versionOf(replica)).toBe(1)
    expect(entries).toEqual([
      { kind: 'policy_refused', detail: expect.objectContaining({ trigger: 'start', count: 1 }) },
    ])
    expect(await metric('countersign_policy_refused_total')).toBe(1)
  })

  it('with policies that are wrong has none where none is active', async () => {
    const { replica } = startReplica([policy('allow', 'biling')])
    expect(await replica.publishAtStart('a')).toMatchObject({
      result: 'refused',
      problems: [{ message: expect.stringContaining('billing') }],
    })
    expect(replica.active()).toBeNull()
  })

  it('publishes nothing whose entry cannot be committed', async () => {
    const { replica, disk } = startReplica([policy('allow')])
    disk.auditFails = true
    await expect(replica.publishAtStart('a')).rejects.toThrow('the log is down')
    disk.auditFails = false
    await replica.refresh()
    expect(replica.active()).toBeNull()
  })
})

describe('publishing', () => {
  it('goes back by making a new version of what was', async () => {
    const { replica, disk, entries } = startReplica([policy('allow')])
    await replica.publish('alice')
    disk.source = sourceOf(policy('deny'))
    expect(await replica.publish('alice')).toEqual({ result: 'published', version: 2 })
    disk.source = sourceOf(policy('allow'))
    expect(await replica.publish('alice')).toEqual({ result: 'published', version: 3 })
    expect(effectOf(replica)).toBe('allow')
    expect(entries.map(({ policyVersion }) => policyVersion)).toEqual([1, 2, 3])
  })

  it('of what is active changes nothing', async () => {
    const { replica } = startReplica([policy('allow')])
    await replica.publish('alice')
    expect(await replica.publish('alice')).toEqual({ result: 'known', version: 1, isActive: true })
  })

  it('at the same time gives each its own version', async () => {
    const all = Array.from({ length: 5 }, (_, n) =>
      startReplica([policy('allow'), `name: q${n}\nrules: [{ name: x, effect: deny }]`]),
    )
    const results = await Promise.all(all.map(({ replica }) => replica.publish('x')))
    const versions = results.map((result) => (result.result === 'published' ? result.version : 0))
    expect([...versions].sort()).toEqual([1, 2, 3, 4, 5])
  })
})

describe('a reload', () => {
  it('publishes what changed', async () => {
    const { replica, disk } = startReplica([policy('allow')])
    await replica.publishAtStart('a')
    disk.source = sourceOf(policy('deny'))
    expect(await replica.reload('a')).toEqual({ result: 'published', version: 2 })
    expect(effectOf(replica)).toBe('deny')
  })

  it('keeps the active set if the new one is wrong, and says so in metrics and log', async () => {
    const { replica, disk, entries, metric } = startReplica([policy('allow')])
    await replica.publishAtStart('a')
    disk.source = sourceOf(policy('deny').replace('effect', 'efect'))
    expect(await replica.reload('a')).toMatchObject({ result: 'refused', problems: [{ file: '0.yaml', line: 3 }, {}] })
    expect(effectOf(replica)).toBe('allow')
    expect(entries.at(-1)).toMatchObject({
      kind: 'policy_refused',
      policyVersion: 1,
      detail: {
        trigger: 'reload',
        problems: [expect.stringMatching(/^0\.yaml:3: /), expect.stringContaining('efect')],
      },
    })
    expect(await metric('countersign_policy_refused_total')).toBe(1)
    expect(await metric('countersign_policy_version')).toBe(1)
  })

  it('keeps it also if the refusal cannot be recorded', async () => {
    const { replica, disk } = startReplica([policy('allow')])
    await replica.publishAtStart('a')
    disk.source = sourceOf('name: p')
    disk.auditFails = true
    expect((await replica.reload('a')).result).toBe('refused')
    expect(effectOf(replica)).toBe('allow')
  })
})

describe('following', () => {
  function nextChange(replica: PolicyStore): Promise<number | null> {
    return new Promise((resolve) => {
      const end = replica.whenChanged((set) => {
        end()
        resolve(set?.version ?? null)
      })
    })
  }

  it('hears of another replica’s publication', async () => {
    const one = startReplica([policy('allow')]).replica
    const two = startReplica([]).replica
    await one.publishAtStart('a')
    await two.follow()
    expect(versionOf(two)).toBe(1)
    const change = nextChange(two)
    const other = startReplica([policy('deny')]).replica
    await other.publish('b')
    expect(await change).toBe(2)
    expect(effectOf(two)).toBe('deny')
  })

  it('finds by itself what it was not told of', async () => {
    const { replica } = startReplica([])
    await replica.follow()
    const change = nextChange(replica)
    const { hash, canonical } = goodSource(policy('allow'))
    const sets = createPublishedSets(keys, () => undefined)
    await store.database.transaction((tx) => sets.insert(tx, { after: 0, hash, canonical, at: 0, by: 'silent' }))
    expect(await change).toBe(1)
  })

  it('has no policy while the active one cannot be used here, and takes the next that can', async () => {
    const { replica: author, disk } = startReplica([policy('allow')])
    await author.publishAtStart('a')
    const context = { ...CONTEXT, upstreams: CONTEXT.upstreams.filter(({ name }) => name === 'billing') }
    const { replica, entries, metric } = startReplica([], { context })
    await replica.refresh()
    expect(versionOf(replica)).toBe(1)

    disk.source = sourceOf(policy('allow', 'scratch'))
    await author.publish('a')
    await replica.refresh()
    expect(replica.active()).toBeNull()
    expect(replica.whyNone()).toMatch(/^policy version 2 cannot be used here: .*unknown upstream "scratch"/)
    expect(entries).toEqual([
      { kind: 'policy_refused', policyVersion: 2, detail: expect.objectContaining({ trigger: 'follow' }) },
    ])
    expect(await metric('countersign_policy_version')).toBe(0)

    disk.source = sourceOf(policy('deny'))
    await author.publish('a')
    await replica.refresh()
    expect(versionOf(replica)).toBe(3)
    expect(replica.whyNone()).toBeNull()
  })
})

describe('whoever writes to the database', () => {
  async function publishTwo() {
    const { replica, disk, metric } = startReplica([policy('deny')])
    await replica.publishAtStart('a')
    disk.source = sourceOf(policy('allow'))
    await replica.publish('a')
    return { replica, metric }
  }

  it('makes no policy without the key', async () => {
    const { replica, metric } = await publishTwo()
    const { hash, canonical } = goodSource(`name: forged\nrules: [{ name: all, effect: allow }]`)
    for (const version of [3, 9, '9223372036854775807']) {
      await store.database.query(`INSERT INTO countersign.policy_set VALUES ($1, $2, $3, now(), 'mallory', 'm1', $4)`, [
        version,
        hash,
        canonical,
        randomBytes(32),
      ])
    }
    await replica.refresh()
    await replica.refresh()
    expect(versionOf(replica)).toBe(2)
    expect(await metric('countersign_policy_refused_total')).toBe(3)

    const fresh = startReplica([]).replica
    await fresh.refresh()
    expect(versionOf(fresh)).toBe(2)
    expect(
      await startReplica([policy('deny'), 'name: q\nrules: [{ name: x, effect: deny }]']).replica.publish('a'),
    ).toEqual({ result: 'published', version: 4 })
    await fresh.refresh()
    expect(versionOf(fresh)).toBe(4)
  })

  it('brings no older one back under a new number', async () => {
    await publishTwo()
    await store.database.query(
      `INSERT INTO countersign.policy_set
       SELECT 3, hash, canonical, published_at, published_by, kid, mac FROM countersign.policy_set WHERE version = 1`,
    )
    const { replica } = startReplica([])
    await replica.refresh()
    expect(versionOf(replica)).toBe(2)
  })

  it('cannot alter or delete one as the gateway', async () => {
    await publishTwo()
    for (const sql of [
      'UPDATE countersign.policy_set SET version = 7',
      'DELETE FROM countersign.policy_set',
      'TRUNCATE countersign.policy_set',
    ]) {
      await expect(store.database.query(sql)).rejects.toThrow(/permission denied/)
    }
  })

  it('alters no text, even as an administrator', async () => {
    await publishTwo()
    const { canonical } = goodSource('name: forged\nrules: [{ name: all, effect: allow }]')
    await asSuperuser('UPDATE countersign.policy_set SET canonical = $1 WHERE version = 2', [canonical])
    const { replica } = startReplica([])
    await replica.refresh()
    expect(versionOf(replica)).toBe(1)
    expect(effectOf(replica)).toBe('deny')
  })

  it('does not take a running replica back by deleting what is newer', async () => {
    const { replica } = await publishTwo()
    await asSuperuser('DELETE FROM countersign.policy_set WHERE version = 2')
    await replica.refresh()
    expect(versionOf(replica)).toBe(2)
  })

  it('does not take a replica back that starts again, either', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'countersign-policy-'))
    try {
      const first = startReplica([policy('deny')], { mark: openPolicyMark(dataDir, keys) })
      await first.replica.publishAtStart('a')
      first.disk.source = sourceOf(policy('allow'))
      await first.replica.publish('a')
      await asSuperuser('DELETE FROM countersign.policy_set WHERE version = 2')

      const again = startReplica([policy('deny')], { mark: openPolicyMark(dataDir, keys) })
      await again.replica.publishAtStart('a')
      await again.replica.refresh()
      expect(versionOf(again.replica)).toBeNull()
      expect(again.replica.whyNone()).toMatch(/lacks policy version 2/)

      // Nor does the row that was there before, or one that nobody published.
      await store.database.query(
        `INSERT INTO countersign.policy_set VALUES (3, $1, 'x', now(), 'mallory', 'm1', 'x')`,
        ['ab'.repeat(32)],
      )
      await again.replica.refresh()
      expect(versionOf(again.replica)).toBeNull()

      expect(await again.replica.publish('a')).toEqual({ result: 'published', version: 4 })
      expect(versionOf(again.replica)).toBe(4)
    } finally {
      await rm(dataDir, { recursive: true })
    }
  })

  it('starts nothing with a mark that was not written with these keys', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'countersign-policy-'))
    try {
      await openPolicyMark(dataDir, secret('m1')).write(7)
      await expect(openPolicyMark(dataDir, keys).read()).rejects.toMatchObject({ code: 'config' })
      await writeFile(join(dataDir, 'policy.json'), '{')
      await expect(openPolicyMark(dataDir, keys).read()).rejects.toMatchObject({ code: 'config' })
    } finally {
      await rm(dataDir, { recursive: true })
    }
  })
})

describe('a change of keys', () => {
  it('still accepts what the previous key made, and nothing that an unknown one made', async () => {
    await startReplica([policy('allow')]).replica.publishAtStart('a')
    const next = secret('m2')
    const rotated = startReplica([], { keys: { ...next, previous: keys.current } }).replica
    await rotated.refresh()
    expect(versionOf(rotated)).toBe(1)
    const strange = startReplica([], { keys: next }).replica
    await strange.refresh()
    expect(strange.active()).toBeNull()
  })
})
