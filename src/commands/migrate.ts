import { loadConfig } from '../config.ts'
import { GatewayError } from '../domain/error.ts'
import { migrate } from '../platform/migrations.ts'
import { defineCommand } from './cli.ts'
import { configOption, DEFAULT_CONFIG, jsonOption } from './options.ts'
import type { Context } from './parts.ts'

export const migrateCommand = defineCommand({
  summary: 'Bring the store to the newest schema',
  details:
    'Uses store.admin_url, and makes the login of store.url a gateway’s. An embedded store is migrated by serve.',
  options: { config: configOption, json: jsonOption },
  async run({ options }, { kinds, quietLog, out }: Context) {
    const { store } = loadConfig(options.config ?? DEFAULT_CONFIG, kinds, { isForAdmin: true })
    if (!store) throw new GatewayError('config', 'there is no store.url: an embedded store is migrated by serve')
    if (store.admin_url === undefined) throw new GatewayError('config', 'store.admin_url is missing')
    const applied = await migrate({ adminUrl: store.admin_url, gatewayUrl: store.url, log: quietLog })
    if (options.json) out(JSON.stringify({ applied }))
    else if (applied.length === 0) out('the schema is the newest already')
    else for (const name of applied) out(`applied ${name}`)
  },
})
