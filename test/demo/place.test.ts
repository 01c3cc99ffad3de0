import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { findPlace, usePlace } from '../../src/demo/place.ts'

const { uid } = userInfo()
const NOBODY = 65_534

let root: string
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'countersign-place-'))
})
afterAll(() => rm(root, { recursive: true, force: true }))

it('is in the checkout, the same each time', async () => {
  for (let run = 0; run < 2; run++) {
    const place = await findPlace(root)
    expect(place.directory).toBe(join(root, '.countersign', `demo-${uid}`))
    await place.leave()
  }
})

it('is another one while somebody uses it, and that one is removed', async () => {
  const first = await findPlace(root)
  const second = await findPlace(root)
  expect(second.directory).not.toBe(first.directory)
  await second.leave()
  await expect(stat(second.directory)).rejects.toThrow('ENOENT')
  await first.leave()
})

it('is refused where another run is, if it was asked for', async () => {
  const directory = join(root, 'asked-for')
  const place = await usePlace(directory)
  await expect(usePlace(directory)).rejects.toThrow(`another demo (process ${process.pid}) is using ${directory}`)
  await place.leave()
})

it.runIf(uid === 0)('is among the temporary files for a user who cannot write to the checkout', async () => {
  const module = new URL('../../src/demo/place.ts', import.meta.url).href
  const script = `const { findPlace } = await import('${module}')
    const place = await findPlace('${root}')
    console.log(place.directory)
    await place.leave()`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    uid: NOBODY,
    gid: NOBODY,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.on('data', (text: Buffer) => {
    output += text.toString()
  })
  await once(child, 'close')
  expect(output.trim()).toBe(join(tmpdir(), `countersign-demo-${NOBODY}`))
  await rm(output.trim(), { recursive: true })
})
