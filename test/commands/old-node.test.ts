import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }

const bin = fileURLToPath(new URL(`../../${packageJson.bin.countersign}`, import.meta.url))
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'countersign-node-'))
})
afterAll(() => rm(folder, { recursive: true }))

/** The command, by a Node that says it is of this version. */
async function countersignOn(version: string): Promise<{ code: number; out: string; err: string }> {
  const disguise = join(folder, 'disguise.cjs')
  const versions = JSON.stringify({ ...process.versions, node: version })
  const facts = `{ versions: { value: ${versions} }, version: { value: 'v${version}' } }`
  await writeFile(disguise, `Object.defineProperties(process, ${facts})`)
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--require', disguise, bin, '--help'])
    return { code: 0, out: stdout, err: stderr }
  } catch (error) {
    // execFile rejects with what the process said and its exit code.
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { code, out: stdout, err: stderr }
  }
}

it('the command says in one line that a Node is too old, and runs on the one it is made for', async () => {
  const old = await countersignOn('20.20.2')
  expect([old.code, old.out]).toEqual([1, ''])
  expect(old.err).toMatch(/^Countersign runs on Node 24; this is v20\.20\.2\. .*\n$/)
  expect(await countersignOn('24.21.0')).toMatchObject({ code: 0, err: '', out: expect.stringContaining('serve') })
})
