import { statfsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

// Tests start many gateways and commands. Each reads the same files: what was compiled once is kept.
process.env['NODE_COMPILE_CACHE'] ??= join(import.meta.dirname, 'node_modules', '.cache', 'compiled')

// Most of what tests write is databases, hundreds of small files each, and none of it outlives them: where there is room,
// it stays in memory.
const MEMORY = '/dev/shm'
const MEMORY_NEEDED_BYTES = 2 ** 31
if (hasRoom(MEMORY)) process.env['TMPDIR'] ??= MEMORY

const UNIT = 'test/**/*.unit.test.ts'
/** Rooms whose tests leave nothing behind in their process: one process reads the modules once for all of them. */
const INSIDE = ['approvals', 'channels', 'control'].map((room) => `test/${room}/**/*.test.ts`)

export default defineConfig({
  test: {
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Much of what the tests do is wait for processes, sockets and commits: three at a time, also on two cores.
    maxWorkers: Math.max(3, availableParallelism() - 1),
    projects: [
      { extends: true, test: { name: 'unit', include: [UNIT], isolate: false } },
      {
        extends: true,
        test: { name: 'inside', include: INSIDE, exclude: [UNIT], globalSetup: ['test/cluster.ts'], isolate: false },
      },
      {
        extends: true,
        test: {
          name: 'whole',
          include: ['test/**/*.test.ts'],
          exclude: [UNIT, ...INSIDE],
          globalSetup: ['test/cluster.ts'],
        },
      },
    ],
  },
})

function hasRoom(folder: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(folder)
    return bavail * bsize >= MEMORY_NEEDED_BYTES
  } catch {
    // Not every system has such a folder.
    return false
  }
}
