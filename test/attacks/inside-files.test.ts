import { chown, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { assertPrivate } from '../../src/platform/files.ts'
import { generateKeys, loadOrGenerateKeys } from '../../src/platform/load-keys.ts'

/** Only the administrator can give a file away, as this test has to. */
describe.runIf(process.getuid?.() === 0)('a user of the machine who was there first', () => {
  it('brings no keys of their own, though nobody else may open the file', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'countersign-planted-'))
    try {
      const path = join(dataDir, 'keys.json')
      await writeFile(path, JSON.stringify(generateKeys()), { mode: 0o600 })
      await chown(path, 65_534, 65_534)
      await expect(loadOrGenerateKeys(dataDir)).rejects.toThrow(/belongs to another user/)
      await expect(assertPrivate(path)).rejects.toMatchObject({ code: 'config' })
    } finally {
      await rm(dataDir, { recursive: true })
    }
  })
})
