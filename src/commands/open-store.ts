import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Config } from '../config.ts'
import { GatewayError } from '../domain/error.ts'
import { type Database, openDatabase } from '../platform/database.ts'
import { type Embedded, findRunning, startEmbedded } from '../platform/embedded.ts'
import { assertNotWorldWritable } from '../platform/files.ts'
import type { Keys } from '../platform/keys.ts'
import { keysPath, loadOrGenerateKeys, readKeys } from '../platform/load-keys.ts'
import type { Logger } from '../platform/logger.ts'
import { assertSchema, migrate } from '../platform/migrations.ts'
import { assertLeastPrivilege } from '../platform/privileges.ts'

/** The schema of the release before. What needs a later one looks whether it is there. */
const OLDEST_SCHEMA = 3

export interface OpenStore {
  readonly database: Database
  readonly keys: Keys
  /** Absolute. */
  readonly dataDir: string
  close(): Promise<void>
}

export function dataDirOf(config: Pick<Config, 'directory' | 'data_dir'>): string {
  return resolve(config.directory, config.data_dir)
}

/**
 * Connects to the configured Postgres, or starts the embedded one and brings its schema up to date.
 *
 * @throws GatewayError `config` or `store`, if it cannot be reached, has another schema, or grants too much.
 */
export async function openStore(config: Config, log: Logger): Promise<OpenStore> {
  const dataDir = dataDirOf(config)
  const embedded = config.store ? null : await startEmbedded({ dataDir, log })
  return open({ config, dataDir, embedded, log })
}

/** The same for a command that may run beside a gateway: the embedded Postgres may be that one's. */
export async function openStoreBeside(config: Config, log: Logger): Promise<OpenStore> {
  const dataDir = dataDirOf(config)
  const running = config.store ? null : await findRunning(dataDir)
  if (!running) return openStore(config, log)
  return open({ config, dataDir, embedded: { ...running, stop: async () => undefined }, log })
}

async function open(how: {
  config: Config
  dataDir: string
  embedded: Embedded | null
  log: Logger
}): Promise<OpenStore> {
  const { config, dataDir, embedded, log } = how
  try {
    await mkdir(dataDir, { recursive: true, mode: 0o700 })
    if (embedded) await migrate({ adminUrl: embedded.adminUrl, gatewayUrl: embedded.url, log })
    const keys = await keysOf(config, dataDir)
    const database = openDatabase({ url: urlOf(config, embedded), log })
    try {
      await database.query('SELECT 1')
      await assertLeastPrivilege(database)
      await assertSchema(database, { oldest: OLDEST_SCHEMA })
    } catch (error) {
      await database.close()
      throw error
    }
    return {
      database,
      keys,
      dataDir,
      async close() {
        await database.close()
        await embedded?.stop()
      },
    }
  } catch (error) {
    await embedded?.stop()
    throw error
  }
}

async function keysOf(config: Config, dataDir: string): Promise<Keys> {
  await assertNotWorldWritable(dataDir)
  return config.keys ? readKeys(config.keys) : loadOrGenerateKeys(dataDir)
}

/** For a command that only checks or shows: makes neither keys nor a directory. Null if there are no keys yet. */
export async function keysIfAny(config: Config): Promise<Keys | null> {
  const dataDir = dataDirOf(config)
  if (!existsSync(dataDir)) return config.keys ? readKeys(config.keys) : null
  return config.keys || existsSync(keysPath(dataDir)) ? keysOf(config, dataDir) : null
}

function urlOf({ store }: Config, embedded: Embedded | null): string {
  const url = store?.url ?? embedded?.url
  if (url === undefined) throw new GatewayError('internal', 'there is neither a store.url nor an embedded store')
  return url
}
