import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { quoted, readPage } from '../../../docs/pages.ts'
import { startWorld, type World } from '../world.ts'
import { lacks, PATIENT, plain, same, succeed } from './programs.ts'
import { findRelease, startServer } from './server.ts'

const SHOP = fileURLToPath(new URL('./shop.sql', import.meta.url))
const TABLES = 50
/** Besides those of the file. */
const FILLERS = 45
const QUIETLY = ['-X', '-q', '-v', 'ON_ERROR_STOP=1']
// Otherwise it is another one each time.
const KEY = '--restrict-key=same'

const bin = findRelease()
const program = (name: string) => join(bin ?? '', name)

describe.skipIf(lacks(bin))('pg_dump and pg_restore', () => {
  let world: World
  let home: string
  beforeAll(async () => {
    // pg_dump refuses a server that is newer than itself: this one is of its own release.
    world = await startWorld(startServer(bin ?? ''))
    home = await mkdtemp(join(tmpdir(), 'countersign-dump-'))
    const fillers = Array.from(
      { length: FILLERS },
      (_, n) => `CREATE TABLE shop.filler_${n} (id int PRIMARY KEY, v text DEFAULT 'x' CHECK (v <> ''));
        INSERT INTO shop.filler_${n} SELECT n, md5(n::text) FROM generate_series(1, 20) n;`,
    )
    const script = join(home, 'shop.sql')
    await writeFile(script, [await readFile(SHOP, 'utf8'), ...fillers].join('\n'))
    await succeed(program('psql'), [...QUIETLY, '-f', script, plain(world.adminUrl)])
  })
  afterAll(async () => {
    await world?.close()
    await rm(home, { recursive: true })
  })

  type Format = 'plain' | 'custom' | 'directory'

  async function dump(url: string, format: Format): Promise<string> {
    const to = join(await mkdtemp(join(home, `${format}-`)), 'dump')
    const more = { plain: [KEY], custom: [], directory: ['-j', '2'] }[format]
    await succeed(program('pg_dump'), ['--format', format, ...more, '-f', to, url])
    return to
  }

  /** What a dump says, whatever its format. */
  async function read(file: string, format: Format): Promise<string> {
    if (format === 'plain') return await readFile(file, 'utf8')
    await succeed(program('pg_restore'), [KEY, '-f', `${file}.sql`, file])
    return await readFile(`${file}.sql`, 'utf8')
  }

  async function restore(file: string, format: Format, to: string): Promise<void> {
    if (format === 'plain') await succeed(program('psql'), [...QUIETLY, '-f', file, to])
    else await succeed(program('pg_restore'), ['--exit-on-error', '-j', '2', '-d', to, file])
  }

  test.each<Format>(['plain', 'custom', 'directory'])(
    'write and restore the same with and without the gateway, format %s (needs postgresql)',
    PATIENT,
    async (format) => {
      let written = ''
      const said = await same(world, async (url) => {
        written = await dump(url, format)
        return await read(written, format)
      })
      expect(said.match(/^CREATE TABLE /gm)).toHaveLength(TABLES)

      const copy = `copy_${format}`
      await succeed(program('createdb'), ['--maintenance-db', plain(world.url()), copy])
      await restore(written, format, plain(world.url(), copy))
      expect(await read(await dump(plain(world.adminUrl, copy), format), format)).toBe(said)
    },
  )

  test('need what the page says to write a dump (needs postgresql)', PATIENT, async () => {
    world.calls.length = 0
    await dump(plain(world.url()), 'directory')
    const actions = world.calls.flatMap((call) => call.actions ?? [])
    const needed = new Set([
      ...actions.map(({ verb }) => verb),
      ...actions.filter(({ verb }) => verb === 'call').map(({ resource }) => resource),
      ...actions.flatMap(({ facts }) => facts['secrets'] as string[]),
    ])
    const said = readPage('docs/postgres.md')
      .split('\n\n')
      .find((paragraph) => paragraph.startsWith('pg_dump needs'))
    expect(new Set(quoted(said ?? ''))).toEqual(needed)
  })
})
