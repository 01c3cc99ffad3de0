import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { formatProblem } from '../../src/platform/yaml.ts'
import { compile } from '../../src/policy/compile.ts'
import { findPolicyFiles, loadPolicies } from '../../src/policy/load.ts'
import { isProblems } from '../../src/policy/problem.ts'
import { readSource } from '../../src/policy/source.ts'
import { CONTEXT } from './world.ts'

const directories: string[] = []
afterEach(async () => {
  for (const directory of directories.splice(0)) await rm(directory, { recursive: true, force: true })
})

async function write(files: Readonly<Record<string, string>>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'countersign-policies-'))
  directories.push(directory)
  for (const [name, text] of Object.entries(files)) {
    await mkdir(dirname(join(directory, name)), { recursive: true })
    await writeFile(join(directory, name), text)
  }
  return directory
}

async function load(directory: string) {
  const source = await loadPolicies(directory)
  if (isProblems(source)) throw new Error(source.map(formatProblem).join('\n'))
  return source
}

async function problems(directory: string): Promise<readonly string[]> {
  const source = await loadPolicies(directory)
  return isProblems(source) ? source.map((problem) => formatProblem(problem).replaceAll(`${directory}/`, '')) : []
}

const policy = (name: string, rule = 'r') =>
  `name: ${name}\nrules:\n  - { name: ${rule}, upstreams: [billing], effect: allow }\n`

describe('a directory of policies', () => {
  it('gives the same bytes whatever its files are called, and however they are laid out', async () => {
    const one = await load(await write({ 'a.yaml': policy('first'), 'b.yaml': policy('second') }))
    const two = await load(
      await write({
        'z.yaml': `# a comment\nrules: [{ effect: allow, name: r, upstreams: ["billing"] }]\nname: "first"\n`,
        'team/y.yaml': policy('second'),
        'team/y.test.yaml': 'cases: nothing that is read here',
        'README.md': 'not a policy',
        '.hidden.yaml': 'not: [a policy',
      }),
    )
    expect(two.hash).toBe(one.hash)
    expect(two.canonical.equals(one.canonical)).toBe(true)
  })

  it('gives other bytes for another rule', async () => {
    const one = await load(await write({ 'a.yaml': policy('first') }))
    const two = await load(await write({ 'a.yaml': policy('first').replace('allow', 'deny') }))
    expect(two.hash).not.toBe(one.hash)
  })

  it('reads back what it wrote', async () => {
    const source = await load(await write({ 'a.yaml': policy('first'), 'b.yaml': policy('second', 's') }))
    const again = readSource(source.canonical)
    if (isProblems(again)) throw new Error(again.map(formatProblem).join())
    expect(again.hash).toBe(source.hash)
    expect(again.policies).toEqual(source.policies)
  })

  it('says of a set from the store which policy is wrong', async () => {
    const source = await load(await write({ 'a.yaml': policy('first') }))
    const again = readSource(source.canonical)
    if (isProblems(again)) throw new Error('unreadable')
    const set = compile(again, { ...CONTEXT, upstreams: [] })
    expect(isProblems(set) && set.map(formatProblem)).toEqual([
      'published policy "first": rule "r": unknown upstream "billing"',
    ])
  })

  it('refuses canonical bytes that are none', () => {
    for (const text of ['', '{', '{"format":2,"policies":[]}', '{"format":1,"policies":[{"name":"a"}]}']) {
      expect(isProblems(readSource(Buffer.from(text)))).toBe(true)
    }
  })

  it('refuses two policies of one name, naming both files', async () => {
    const directory = await write({ 'a.yaml': policy('same'), 'b.yaml': policy('same') })
    expect(await problems(directory)).toEqual([
      expect.stringMatching(/^b\.yaml:1: "same" names the policy of .*a\.yaml already$/),
    ])
  })

  it('refuses to be empty, or not to be there', async () => {
    expect(await problems(await write({}))).toEqual([expect.stringMatching(/holds no policy/)])
    expect(await problems(join(await write({}), 'absent'))).toEqual([expect.stringMatching(/ENOENT/)])
  })

  it('refuses a *.yml, which would be left out', async () => {
    expect(await problems(await write({ 'a.yaml': policy('a'), 'b.yml': policy('b') }))).toEqual([
      expect.stringMatching(/^b\.yml: .*".yaml"/),
    ])
  })

  it('refuses what every user may write to', async () => {
    const file = await write({ 'a.yaml': policy('a') })
    await chmod(join(file, 'a.yaml'), 0o646)
    expect(await problems(file)).toEqual([expect.stringMatching(/^a\.yaml: .*chmod o-w/)])

    const folder = await write({ 'team/a.yaml': policy('a') })
    await chmod(join(folder, 'team'), 0o777)
    expect(await problems(folder)).toEqual([expect.stringMatching(/chmod o-w/)])

    const sticky = await write({ 'a.yaml': policy('a') })
    await chmod(sticky, 0o1777)
    expect(await problems(sticky)).toEqual([expect.stringMatching(/chmod o-w/)])

    const behind = await write({ 'real.txt': policy('a') })
    await symlink(join(behind, 'real.txt'), join(behind, 'a.yaml'))
    await chmod(join(behind, 'real.txt'), 0o666)
    expect(await problems(behind)).toEqual([expect.stringMatching(/^a\.yaml: .*chmod o-w/)])
  })

  it('refuses a file that is too large, not text, or nested beyond reason', async () => {
    expect(await problems(await write({ 'a.yaml': `# ${'x'.repeat(300_000)}\n${policy('a')}` }))).toEqual([
      expect.stringMatching(/larger than 256 KiB/),
    ])
    const binary = await write({ 'a.yaml': policy('a') })
    await writeFile(join(binary, 'a.yaml'), Buffer.from([0x6e, 0xff, 0xfe]))
    expect(await problems(binary)).toEqual([expect.stringMatching(/not UTF-8/)])
    expect(await problems(await write({ 'a.yaml': `name: a\nrules: ${'['.repeat(100_000)}` }))).not.toEqual([])
  })

  it('tells the problems of all files at once', async () => {
    const directory = await write({ 'a.yaml': 'name: a\nruls: []', 'b.yaml': 'name: [', 'c.yaml': policy('c') })
    const files = (await problems(directory)).map((line) => line.split(':')[0])
    expect(new Set(files)).toEqual(new Set(['a.yaml', 'b.yaml']))
  })

  it('finds the cases beside the policies', async () => {
    const directory = await write({ 'a.yaml': policy('a'), 'a.test.yaml': '', 'team/b.test.yaml': '' })
    const files = await findPolicyFiles(directory)
    expect(files).toEqual({
      policies: [join(directory, 'a.yaml')],
      tests: [join(directory, 'a.test.yaml'), join(directory, 'team/b.test.yaml')],
    })
  })
})
