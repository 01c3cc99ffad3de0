import { loadConfig } from '../config.ts'
import { GatewayError } from '../domain/error.ts'
import { exportPublicKeys } from '../platform/keys.ts'
import { defineCommand } from './cli.ts'
import { keysIfAny } from './open-store.ts'
import { configOption, DEFAULT_CONFIG, jsonOption } from './options.ts'
import type { Context } from './parts.ts'

export const auditKeyCommand = defineCommand({
  summary: 'Print the public half of the checkpoint key, for who verifies exports elsewhere',
  details: 'Give it to auditors by another way than the exports. With it nothing can be signed.',
  options: { config: configOption, json: jsonOption },
  async run({ options }, { kinds, out }: Context) {
    const keys = await keysIfAny(loadConfig(options.config ?? DEFAULT_CONFIG, kinds))
    if (!keys) throw new GatewayError('config', 'there are no keys yet: the first start of the gateway makes them')
    const known = exportPublicKeys(keys.checkpoint)
    if (options.json) out(JSON.stringify({ keys: known.map(({ kid, pem }) => ({ kid, public_key: pem })) }))
    else for (const { pem } of known) out(pem)
  },
})
