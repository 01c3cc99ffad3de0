import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  assertNotWorldWritable,
  assertPrivate,
  createFileAtomically,
  readFileIfAny,
  writeFileAtomically,
} from '../../src/platform/files.ts'
import { loadOrGenerateKeys } from '../../src/platform/load-keys.ts'

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'files-'))
})

afterEach(async () => {
  await rm(directory, { recursive: true })
})

describe('writeFileAtomically', () => {
  it('replaces a file, with the mode it is given and nothing left beside it', async () => {
    const path = join(directory, 'a')
    await writeFile(path, 'old', { mode: 0o644 })
    await writeFileAtomically(path, 'new', 0o600)
    expect(await readFile(path, 'utf8')).toBe('new')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(await readdir(directory)).toEqual(['a'])
  })

  it('leaves nothing behind when it fails', async () => {
    await expect(writeFileAtomically(join(directory, 'no', 'a'), 'x', 0o600)).rejects.toMatchObject({ code: 'ENOENT' })
    await writeFile(join(directory, 'f'), '')
    await expect(writeFileAtomically(join(directory, 'f', 'a'), 'x', 0o600)).rejects.toThrow()
    expect(await readdir(directory)).toEqual(['f'])
  })
})

it('creates a file once, whoever tries', async () => {
  const path = join(directory, 'a')
  const created = await Promise.all(['1', '2', '3'].map((text) => createFileAtomically(path, text, 0o600)))
  expect(created.filter(Boolean)).toHaveLength(1)
  expect(await readFileIfAny(path)).toBe(`${created.indexOf(true) + 1}`)
  expect(await readdir(directory)).toEqual(['a'])
})

it('reads nothing where there is no file', async () => {
  expect(await readFileIfAny(join(directory, 'none'))).toBeNull()
})

it('refuses what every user may write, by name', async () => {
  const path = join(directory, 'policy.yaml')
  await writeFile(path, '')
  await chmod(path, 0o664)
  await assertNotWorldWritable(path)
  await chmod(path, 0o646)
  await expect(assertNotWorldWritable(path)).rejects.toMatchObject({
    code: 'config',
    message: expect.stringContaining(path),
  })
  await chmod(directory, 0o777)
  await expect(assertNotWorldWritable(directory)).rejects.toMatchObject({ code: 'config' })
})

it('refuses secrets that others may read', async () => {
  const path = join(directory, 'keys.json')
  await writeFile(path, '', { mode: 0o600 })
  await assertPrivate(path)
  for (const mode of [0o640, 0o604, 0o620, 0o601]) {
    await chmod(path, mode)
    await expect(assertPrivate(path)).rejects.toMatchObject({ code: 'config' })
  }
})

describe('loadOrGenerateKeys', () => {
  it('makes keys once, for their owner alone', async () => {
    const dataDir = join(directory, 'data')
    const [one, other] = await Promise.all([loadOrGenerateKeys(dataDir), loadOrGenerateKeys(dataDir)])
    expect((await stat(join(dataDir, 'keys.json'))).mode & 0o777).toBe(0o600)
    const again = await loadOrGenerateKeys(dataDir)
    for (const keys of [one, other]) {
      expect(keys.mac.current.key.equals(again.mac.current.key)).toBe(true)
      expect(keys.checkpoint.current.publicKey.equals(again.checkpoint.current.publicKey)).toBe(true)
    }
  })

  it('refuses keys that others may read, that are cut, or that lack a purpose', async () => {
    await loadOrGenerateKeys(directory)
    const path = join(directory, 'keys.json')
    const text = await readFile(path, 'utf8')
    await writeFile(path, text.slice(0, -40))
    await expect(loadOrGenerateKeys(directory)).rejects.toMatchObject({ code: 'config' })
    await writeFile(path, JSON.stringify({ ...JSON.parse(text), mac: undefined }))
    await expect(loadOrGenerateKeys(directory)).rejects.toMatchObject({ code: 'config' })
    await writeFile(path, text)
    await chmod(path, 0o644)
    await expect(loadOrGenerateKeys(directory)).rejects.toMatchObject({ code: 'config' })
  })

  it('refuses a data directory that every user may write', async () => {
    await chmod(directory, 0o777)
    await expect(loadOrGenerateKeys(directory)).rejects.toMatchObject({ code: 'config' })
  })
})
