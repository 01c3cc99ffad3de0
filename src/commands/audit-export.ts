import { open } from 'node:fs/promises'
import { resolve } from 'node:path'
import { type Statement, writeExport } from '../audit/export.ts'
import { parseHeadFile } from '../audit/head.ts'
import { headPath } from '../audit/open.ts'
import { readRows } from '../audit/rows.ts'
import { takeStatement } from '../audit/take-statement.ts'
import { loadConfig } from '../config.ts'
import { counted } from '../domain/counted.ts'
import { GatewayError } from '../domain/error.ts'
import { isErrno, readFileIfAny } from '../platform/files.ts'
import { defineCommand } from './cli.ts'
import { openStoreBeside } from './open-store.ts'
import { configOption, DEFAULT_CONFIG, jsonOption } from './options.ts'
import type { Context } from './parts.ts'

export const auditExportCommand = defineCommand({
  summary: 'Write the audit log to a file that `audit verify --file` reads without a database',
  args: { file: { doc: 'One JSON object a line; readable by its owner only' } },
  options: {
    config: configOption,
    'with-names': { type: 'boolean', doc: 'Also write the personal values that the entries commit to' },
    json: jsonOption,
  },
  async run({ options, args }, { kinds, quietLog, out, err }: Context) {
    const config = loadConfig(options.config ?? DEFAULT_CONFIG, kinds, { readsOnly: 'log' })
    const { database, dataDir, close } = await openStoreBeside(config, quietLog)
    try {
      const file = resolve(args.file)
      await reserve(file)
      const path = headPath(dataDir)
      const statement = await takeStatement(database, () => readHead(path))
      const entries = await writeExport(readRows(database), file, {
        ...statement,
        withPersonal: options['with-names'],
      })
      const gap = await describeGap(path, statement)
      if (gap !== null) err(gap)
      out(options.json ? JSON.stringify({ entries, file }) : `wrote ${counted(entries, 'entry', 'entries')} to ${file}`)
    } finally {
      await close()
    }
  },
})

/** An export is evidence: none takes the place of another. */
async function reserve(file: string): Promise<void> {
  try {
    await (await open(file, 'wx', 0o600)).close()
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw new GatewayError('config', `${file} is there already; nothing is overwritten`)
    throw new GatewayError('config', `${file} cannot be written`, { cause: error })
  }
}

/** As it lies there; who verifies the export checks its signature. A damaged one is no reason to have no evidence. */
async function readHead(path: string): Promise<Statement['head']> {
  const text = await readFileIfAny(path)
  try {
    return text === null ? null : parseHeadFile(text)
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    return null
  }
}

/** What of the export nothing signed vouches for; null if all of it is covered. */
async function describeGap(path: string, { head, end }: Statement): Promise<string | null> {
  if (head === null) {
    const isThere = (await readFileIfAny(path)) !== null
    return `${path} ${isThere ? 'is no head file' : 'is not there'}: nothing signed vouches for this export`
  }
  if (head.seq >= end.seq) return null
  return `${path} states entry ${head.seq} of ${end.seq}: nothing signed vouches for those after it, until a gateway runs again`
}
