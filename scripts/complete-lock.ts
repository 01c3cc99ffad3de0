// npm leaves platform packages of other systems out of package-lock.json, and `npm ci` then fails on them. This adds
// the missing entries, with their integrity, so that one lock file serves every platform. Run it after every change of
// dependencies; with --check it only says what is missing.
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'

interface LockEntry {
  version?: string
  integrity?: string
  dev?: boolean
  optional?: boolean
  os?: string[]
  cpu?: string[]
  libc?: string[]
  optionalDependencies?: Record<string, string>
}
interface Manifest {
  version: string
  os?: string[]
  cpu?: string[]
  libc?: string[]
  'dist.integrity'?: string
}

const lock: { packages: Record<string, LockEntry> } = JSON.parse(readFileSync('package-lock.json', 'utf8'))
const missing = new Map<string, { spec: string; isDev: boolean }>()
for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    if (!isLocked(path, name))
      missing.set(`node_modules/${name}`, { spec: `${name}@${range}`, isDev: entry.dev === true })
  }
}

if (process.argv.includes('--check')) {
  if (missing.size > 0) {
    const specs = [...missing.values()].map(({ spec }) => spec)
    console.error(`package-lock.json lacks ${specs.join(', ')}: run node scripts/complete-lock.ts`)
    process.exitCode = 1
  }
} else {
  for (const [path, { spec, isDev }] of missing) lock.packages[path] = describe(spec, isDev)
  const sorted = Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1))
  lock.packages = Object.fromEntries(sorted)
  writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`)
  console.log(`added ${missing.size}`)
}

/** Whether Node's lookup from the depending package finds an entry for the name. */
function isLocked(from: string, name: string): boolean {
  for (let folder = from; ; folder = folder.slice(0, Math.max(0, folder.lastIndexOf('node_modules/') - 1))) {
    const path = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`
    if (lock.packages[path]) return true
    if (folder === '') return false
  }
}

function describe(spec: string, isDev: boolean): LockEntry {
  const manifest = ask(spec) ?? guess(spec)
  return {
    version: manifest.version,
    ...(manifest['dist.integrity'] && { integrity: manifest['dist.integrity'] }),
    ...(manifest.cpu && { cpu: manifest.cpu }),
    ...(isDev && { dev: true }),
    ...(manifest.libc && { libc: manifest.libc }),
    optional: true,
    ...(manifest.os && { os: manifest.os }),
  }
}

function ask(spec: string): Manifest | null {
  const fields = ['version', 'os', 'cpu', 'libc', 'dist.integrity']
  const { status, stdout } = spawnSync('npm', ['view', spec, ...fields, '--json'], { encoding: 'utf8' })
  if (status !== 0 || stdout === '') return null
  const answer: Manifest | Manifest[] = JSON.parse(stdout)
  return (Array.isArray(answer) ? answer.at(-1) : answer) ?? null
}

/** A registry that mirrors in part lacks some platforms' packages: their names still tell where they belong. */
function guess(spec: string): Manifest {
  const [, name, version] = /^(@?[^@]+)@[\^~]?([0-9].*)$/.exec(spec) ?? []
  const os = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32'].find((word) => name?.includes(word))
  const cpu = ['arm64', 'arm', 'ia32', 'ppc64', 'riscv64', 's390x', 'x64'].find((word) => name?.includes(`-${word}`))
  if (!version || !os || !cpu) throw new Error(`cannot tell the platform of ${spec}`)
  return { version, os: [os], cpu: [cpu] }
}
