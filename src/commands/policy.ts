import { readFile } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { resolve } from 'node:path'
import { type Config, loadConfig } from '../config.ts'
import { GatewayError } from '../domain/error.ts'
import { findNoResumer } from '../identity/check-issuers.ts'
import { defineCommand } from './cli.ts'
import { withPolicies } from './open-policies.ts'
import { configOption, DEFAULT_CONFIG, jsonOption } from './options.ts'
import type { Context } from './parts.ts'
import { checkPolicies, type PolicyCommand } from './policy-check.ts'
import { compileContext } from './policy-context.ts'
import { explainCall } from './policy-explain.ts'
import { publishPolicies } from './policy-publish.ts'
import { testPolicies } from './policy-test.ts'

const options = { config: configOption, json: jsonOption }

function prepare(
  given: { config?: string | undefined; json: boolean },
  context: Context,
  readsOnly: 'all' | 'policies' = 'policies',
): PolicyCommand & { config: Config } {
  const config = loadConfig(given.config ?? DEFAULT_CONFIG, context.kinds, { readsOnly })
  return {
    config,
    directory: resolve(config.directory, config.policies),
    context: compileContext(config, context.kinds),
    isJson: given.json,
    print: context.out,
  }
}

export const policyCheckCommand = defineCommand({
  summary: 'Check the policies against the configured upstreams',
  options,
  async run(input, context: Context) {
    const command = prepare(input.options, context)
    return checkPolicies({ ...command, noResumer: findNoResumer(command.config.people) })
  },
})

export const policyTestCommand = defineCommand({
  summary: 'Run the cases beside the policies, and name the rules that none reaches',
  options,
  run: async (input, context: Context) => testPolicies(prepare(input.options, context)),
})

export const policyExplainCommand = defineCommand({
  summary: 'Say which rule decides a described call, and why',
  details:
    'The description has the form of one case of a *.test.yaml, for example\n\n' +
    '  principal: { is: "https://idp.example.com|agent-1" }\n  upstream: billing\n  verb: POST\n  resource: /refunds\n' +
    '  facts: { body: { amount: 100 } }\n\n' +
    'or, of SQL, with the facts that the rules read:\n\n' +
    '  principal: { is: "https://idp.example.com|agent-1" }\n  upstream: orders\n  verb: update\n  resource: public.orders\n' +
    '  facts: { schemas: [public], writes: true, is_ddl: false, has_where: true }',
  args: { file: { doc: 'The description; - for the standard input' } },
  options,
  async run({ options: given, args }, context: Context) {
    const text = await readDescription(args.file)
    return explainCall(prepare(given, context), { file: args.file, text })
  },
})

export const policyPublishCommand = defineCommand({
  summary: 'Make the policies of this machine the active ones of every replica',
  options,
  async run({ options: given }, context: Context) {
    const { config, isJson, print } = prepare(given, context, 'all')
    const by = `${userInfo().username} on the command line`
    return withPolicies({ config, ...context, log: context.quietLog }, (store) =>
      publishPolicies({ store, by, isJson, print }),
    )
  },
})

async function readDescription(file: string): Promise<string> {
  try {
    return await readFile(file === '-' ? '/dev/stdin' : file, 'utf8')
  } catch (error) {
    throw new GatewayError('config', `${file} cannot be read`, { cause: error })
  }
}
