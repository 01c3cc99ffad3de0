import { existsSync } from 'node:fs'
import { readExport } from '../audit/export.ts'
import { readHeadFile } from '../audit/head.ts'
import { headPath } from '../audit/open.ts'
import { readRows, readStoreHead } from '../audit/rows.ts'
import { type Report, type VerifyOptions, verifyLog } from '../audit/verify.ts'
import { type Config, loadConfig } from '../config.ts'
import { defineCommand } from './cli.ts'
import { dataDirOf, keysOf, openStoreBeside } from './open-store.ts'
import { configOption, DEFAULT_CONFIG, jsonOption } from './options.ts'
import type { Context } from './parts.ts'

export const auditVerifyCommand = defineCommand({
  summary: 'Recompute the audit log from its stored bytes, and name the first entry that is wrong',
  details:
    'Compares it with the signed head that the gateway keeps in data_dir. With --file it reads an export and needs no ' +
    'database. Exit codes: 0 intact, 10 altered, 11 gap, 12 truncated, 13 forked, 14 unanchored, 15 violated.',
  options: {
    config: configOption,
    file: { type: 'string', value: 'entries.jsonl', doc: 'Verify an exported file instead of the store' },
    json: jsonOption,
  },
  async run({ options }, context: Context) {
    const config = loadConfig(options.config ?? DEFAULT_CONFIG, context.kinds)
    const isShown = context.isTerminal && !options.json
    const report =
      options.file === undefined
        ? await verifyStore(config, isShown, context)
        : await verifyLog(readExport(options.file), { head: await headOf(config), ...(isShown && showProgress(null)) })
    if (isShown) process.stderr.write('\n')
    if (options.json) context.out(JSON.stringify({ ...report, last: report.last && writeHead(report.last) }))
    else for (const line of describe(report)) context.out(line)
    return report.exitCode
  },
})

async function verifyStore(config: Config, isShown: boolean, { quietLog }: Context): Promise<Report> {
  const { database, close } = await openStoreBeside(config, quietLog)
  try {
    const head = await headOf(config)
    const storeHead = () => readStoreHead(database)
    const progress = isShown && showProgress((await storeHead()).seq)
    return await verifyLog(readRows(database), { head, storeHead, ...progress })
  } finally {
    await close()
  }
}

/** Null where there is no record: then nothing vouches for the log. */
async function headOf(config: Config) {
  const dataDir = dataDirOf(config)
  if (!existsSync(headPath(dataDir))) return null
  const keys = await keysOf(config, dataDir)
  return readHeadFile(headPath(dataDir), keys.checkpoint)
}

function* describe({ verdict, findings, findingCount, entries, anchoredSeq }: Report): Generator<string> {
  if (verdict === 'intact')
    yield `intact: ${entries} entries, each as it was written; a signed head vouches for ${anchoredSeq} of them`
  else yield `${verdict}: ${findingCount} ${findingCount === 1 ? 'fault' : 'faults'} in ${entries} entries`
  for (const { seq, fault, what } of findings) yield `  entry ${seq}: ${fault}: ${what}`
  if (findingCount > findings.length) yield `  and ${findingCount - findings.length} more`
}

const BAR_WIDTH = 30

/** A bar on the error output, or a count where nobody knows how many there are. */
function showProgress(total: number | null): Required<Pick<VerifyOptions, 'onProgress'>> {
  return {
    onProgress({ entries }) {
      const count = entries.toLocaleString('en')
      if (total === null) {
        process.stderr.write(`\r${count} entries`)
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
