import { writeExport } from '../audit/export.ts'
import { readRows } from '../audit/rows.ts'
import { loadConfig } from '../config.ts'
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
  async run({ options, args }, { kinds, quietLog, out }: Context) {
    const config = loadConfig(options.config ?? DEFAULT_CONFIG, kinds)
    const { database, close } = await openStoreBeside(config, quietLog)
    try {
      const entries = await writeExport(readRows(database), args.file, { withPersonal: options['with-names'] })
      out(options.json ? JSON.stringify({ entries, file: args.file }) : `wrote ${entries} entries to ${args.file}`)
    } finally {
      await close()
    }
  },
})
