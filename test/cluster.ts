import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { startEmbedded } from '../src/platform/embedded.ts'
import { isAlive } from '../src/platform/lock.ts'
import { createLogger } from '../src/platform/logger.ts'
import { endPostmaster, isPostmasterOf, readPostmaster } from '../src/platform/postmaster.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** The cluster of this run: its superuser's URL and its gateway login's. */
    cluster: { readonly adminUrl: string; readonly url: string }
  }
}

const PREFIX = 'countersign-test-'

// Nothing in it outlives the run, so that nothing needs to be on disk.
const SETTINGS = { fsync: 'off', full_page_writes: 'off', max_connections: '200' }

/** One Postgres for a whole run of the tests, in a temporary directory. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await removeLeftovers()
  const dataDir = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`))
  try {
    const log = createLogger({ level: 'warn' })
    const cluster = await startEmbedded({ dataDir, log, settings: SETTINGS })
    project.provide('cluster', { adminUrl: cluster.adminUrl, url: cluster.url })
    return async () => {
      await cluster.stop()
      await rm(dataDir, { recursive: true, force: true })
    }
  } catch (error) {
    await rm(dataDir, { recursive: true, force: true })
    throw error
  }
}

/** A run that was killed leaves its Postgres behind. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = Number(new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1] ?? Number.NaN)
    if (!Number.isSafeInteger(pid) || isAlive(pid)) continue
    const dataDir = join(tmpdir(), name)
    for (const inner of await readdir(dataDir)) {
      const directory = join(dataDir, inner)
      const postmaster = await readPostmaster(directory).catch(() => null)
      if (postmaster && (await isPostmasterOf(directory, postmaster.pid))) {
        await endPostmaster(directory, { pid: postmaster.pid, waitMs: 5_000 })
      }
    }
    await rm(dataDir, { recursive: true, force: true })
  }
}
