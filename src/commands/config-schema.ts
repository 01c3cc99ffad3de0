import { z } from 'zod'
import { configSchema } from '../config.ts'
import { defineCommand } from './cli.ts'
import type { Context } from './parts.ts'

export const configSchemaCommand = defineCommand({
  summary: 'Print the JSON Schema of countersign.yaml, for editors',
  async run(_input, { kinds, out }: Context) {
    out(JSON.stringify(z.toJSONSchema(configSchema(kinds), { io: 'input', unrepresentable: 'any' }), null, 2))
  },
})
