import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isAlive, takeLock } from '../../src/platform/lock.ts'

describe('takeLock', () => {
  let directory: string
  let path: string

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'lock-'))
    path = join(directory, 'a.lock')
  })

  afterEach(() => rm(directory, { recursive: true }))

  async function take() {
    const lock = await takeLock(path)
    if ('heldBy' in lock) throw new Error(`held by ${lock.heldBy}`)
    return lock
  }

  it('is had by one, and by the next after it was released', async () => {
    const lock = await take()
    expect(await takeLock(path)).toEqual({ heldBy: process.pid })
    await lock.release()
    const next = await take()
    await next.release()
    expect(await readdir(directory)).toHaveLength(1)
  })

  it('is had by one of many that try at once', async () => {
    const locks = await Promise.all(Array.from({ length: 20 }, () => takeLock(path)))
    expect(locks.filter((lock) => 'release' in lock)).toHaveLength(1)
    expect(await readdir(directory)).toEqual(['a.lock.1'])
  })

  it('is taken over from a process that is gone, by one of many', async () => {
    const child = spawn('true')
    await once(child, 'exit')
    await writeFile(`${path}.7`, JSON.stringify({ pid: child.pid, startedAt: '1' }))
    const locks = await Promise.all(Array.from({ length: 20 }, () => takeLock(path)))
    expect(locks.filter((lock) => 'release' in lock)).toHaveLength(1)
    expect(await readdir(directory)).toEqual(['a.lock.8'])
  })

  it('is taken over from a process whose id another one has now', async () => {
    await writeFile(`${path}.7`, JSON.stringify({ pid: process.ppid, startedAt: '1' }))
    await (await take()).release()
  })

  it('is taken over if what it says is no lock', async () => {
    const texts = ['', '{', 'null', '{"pid":"x"}', '{"pid":-1}', '{"pid":0}']
    for (const [index, text] of texts.entries()) {
      await writeFile(`${path}.${10 * (index + 1)}`, text)
      await (await take()).release()
    }
  })

  it('is had by one at a time, however often it is taken and released', async () => {
    let holders = 0
    let taken = 0
    async function takeTurns(): Promise<void> {
      for (let turn = 0; turn < 20; turn++) {
        const lock = await takeLock(path)
        if ('heldBy' in lock) continue
        holders++
        taken++
        expect(holders).toBe(1)
        await readdir(directory)
        holders--
        await lock.release()
      }
    }
    await Promise.all(Array.from({ length: 5 }, takeTurns))
    expect(taken).toBeGreaterThan(5)
  })
})

it('tells whether a process is alive, be it another user’s', async () => {
  expect(isAlive(1)).toBe(true)
  const child = spawn('true')
  await once(child, 'exit')
  expect(isAlive(child.pid ?? 0)).toBe(false)
})
