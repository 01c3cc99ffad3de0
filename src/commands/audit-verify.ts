import { existsSync } from 'node:fs'
import { readExport, readStatement } from '../audit/export.ts'
import { readRows, readStoreHead } from '../audit/rows.ts'
import { type Report, type VerifyOptions, verifyLog } from '../audit/verify.ts'
import { type Config, loadConfig } from '../config.ts'
import { GatewayError } from '../domain/error.ts'
import { makeVisible } from '../domain/visible.ts'
import { describeFile, describeReport } from './audit-report.ts'
import { defineCommand } from './cli.ts'
import { openStoreBeside } from './open-store.ts'
import { configOption, DEFAULT_CONFIG, jsonOption } from './options.ts'
import type { Context } from './parts.ts'
import { findWitnesses } from './witnesses.ts'

export const auditVerifyCommand = defineCommand({
  summary: 'Recompute the audit log from its stored bytes, and name the first entry that is wrong',
  details:
    'Compares it with the signed head that the gateway keeps in data_dir. With --file it reads an export, and needs ' +
    'neither a database nor a configuration: --key is enough to check the head that the export holds. ' +
    'Exit codes: 0 intact, 10 altered, 11 gap, 12 truncated, 13 forked, 14 unanchored, 15 violated.',
  options: {
    config: configOption,
    file: { type: 'string', value: 'entries.jsonl', doc: 'Verify an exported file instead of the store' },
    head: { type: 'string', value: 'head.json', doc: 'Compare with this head instead of the one in data_dir' },
    key: {
      type: 'string',
      value: 'checkpoint.pem',
      doc: 'What `audit key` printed: checks heads instead of the keys of the configuration',
    },
    json: jsonOption,
  },
  async run({ options }, context: Context) {
    const isShown = context.isTerminal && !options.json
    const { report, notes } = await (options.file === undefined
      ? verifyStore(options, isShown, context)
      : verifyFile({ ...options, file: options.file }, isShown, context))
    if (isShown) process.stderr.write('\n')
    if (options.json) context.out(JSON.stringify({ ...report, last: report.last && writeHead(report.last), notes }))
    // An export may come from anybody, and findings quote it.
    else for (const line of [...describeReport(report), ...notes]) context.out(makeVisible(line))
    return report.exitCode
  },
})

interface Given {
  readonly config: string | undefined
  readonly head: string | undefined
  readonly key: string | undefined
}

interface Verified {
  readonly report: Report
  /** What else has to be known of what was checked, a line each. */
  readonly notes: readonly string[]
}

async function verifyStore(given: Given, isShown: boolean, { kinds, quietLog }: Context): Promise<Verified> {
  const config = loadConfig(given.config ?? DEFAULT_CONFIG, kinds)
  const { database, close } = await openStoreBeside(config, quietLog)
  try {
    const { witnesses } = await findWitnesses({ ...given, config, statement: null })
    const storeHead = () => readStoreHead(database)
    const progress = isShown && showProgress((await storeHead()).seq)
    return { report: await verifyLog(readRows(database), { witnesses, storeHead, ...progress }), notes: [] }
  } finally {
    await close()
  }
}

async function verifyFile(given: Given & { file: string }, isShown: boolean, context: Context): Promise<Verified> {
  const { file } = given
  const config = configBeside(given, context)
  const statement = await readStatement(file)
  const { witnesses, isKeyKnown } = await findWitnesses({ ...given, config, statement })
  const report = await verifyLog(readExport(file), {
    witnesses,
    ...(statement && { storeHead: async () => statement.end }),
    ...(isShown && showProgress(statement?.end.seq ?? null)),
  })
  return { report, notes: describeFile({ report, witnesses, statement, isKeyKnown }) }
}

/** Who checks an export has a configuration only if it is named, or is at hand. */
function configBeside({ config, key }: Given, { kinds }: Context): Config | null {
  if (config !== undefined && !existsSync(config)) {
    throw new GatewayError('config', `${config}: no such file; --file needs none: leave --config out, or give --key`)
  }
  if (config === undefined && (key !== undefined || !existsSync(DEFAULT_CONFIG))) return null
  return loadConfig(config ?? DEFAULT_CONFIG, kinds)
}

const BAR_WIDTH = 30

/** A bar on the error output, or a count where nobody knows how many there are. */
function showProgress(total: number | null): Required<Pick<VerifyOptions, 'onProgress'>> {
  return {
    onProgress({ entries }) {
      const count = entries.toLocaleString('en')
      if (total === null) {
        process.stderr.write(`\r${count} ${entries === 1 ? 'entry' : 'entries'}`)
        return
      }
      const share = total === 0 ? 1 : Math.min(1, entries / total)
      const bar = '█'.repeat(Math.round(share * BAR_WIDTH)).padEnd(BAR_WIDTH, '░')
      process.stderr.write(`\r${bar} ${Math.floor(share * 100)}% (${count} of ${total.toLocaleString('en')})`)
    },
  }
}

function writeHead({ seq, hash }: NonNullable<Report['last']>): { seq: number; hash: string } {
  return { seq, hash: Buffer.from(hash).toString('hex') }
}
