import { type Statement, writeExport } from '../audit/export.ts'
import { parseHeadFile } from '../audit/head.ts'
import { headPath } from '../audit/open.ts'
import { readRows, readStoreHead } from '../audit/rows.ts'
import { loadConfig } from '../config.ts'
import { counted } from '../domain/counted.ts'
import { GatewayError } from '../domain/error.ts'
import { readFileIfAny } from '../platform/files.ts'
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
    const config = loadConfig(options.config ?? DEFAULT_CONFIG, kinds)
    const { database, dataDir, close } = await openStoreBeside(config, quietLog)
    try {
      // Before the store is asked: a sound one holds whatever was signed by then.
      const head = await readHead(headPath(dataDir), err)
      const end = await readStoreHead(database)
      const entries = await writeExport(readRows(database), args.file, {
        end,
        head,
        withPersonal: options['with-names'],
      })
      out(
        options.json
          ? JSON.stringify({ entries, file: args.file })
          : `wrote ${counted(entries, 'entry', 'entries')} to ${args.file}`,
      )
    } finally {
      await close()
    }
  },
})

/** As it lies there; who verifies the export checks its signature. A damaged one is no reason to have no evidence. */
async function readHead(path: string, err: (line: string) => void): Promise<Statement['head']> {
  const text = await readFileIfAny(path)
  try {
    if (text !== null) return parseHeadFile(text)
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
  }
  err(`${path} ${text === null ? 'is not there' : 'is no head file'}: nothing signed vouches for this export`)
  return null
}
