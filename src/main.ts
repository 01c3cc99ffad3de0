import { homedir } from 'node:os'
import { slack } from './channels/slack/index.ts'
import { agents } from './commands/agents.ts'
import { approvals } from './commands/approvals.ts'
import { auditExportCommand } from './commands/audit-export.ts'
import { auditKeyCommand } from './commands/audit-key.ts'
import { auditVerifyCommand } from './commands/audit-verify.ts'
import type { Group } from './commands/cli.ts'
import { configCheckCommand } from './commands/config-check.ts'
import { configSchemaCommand } from './commands/config-schema.ts'
import { dispatch } from './commands/dispatch.ts'
import { initCommand } from './commands/init.ts'
import { login } from './commands/login.ts'
import { logout } from './commands/logout.ts'
import { migrateCommand } from './commands/migrate.ts'
import type { Context, Kinds } from './commands/parts.ts'
import { settingsFolder } from './commands/person-context.ts'
import { policyCheckCommand, policyExplainCommand, policyPublishCommand, policyTestCommand } from './commands/policy.ts'
import { serveCommand } from './commands/serve.ts'
import { storeRecoverCommand } from './commands/store-recover.ts'
import { openTerminal } from './commands/terminal.ts'
import { readEnvironment } from './config.ts'
import { systemClock } from './platform/clock.ts'
import { createLogger } from './platform/logger.ts'
import { http } from './protocols/http/index.ts'
import { postgres } from './protocols/postgres/index.ts'

/** Every protocol and every channel. To add one is to add its folder, and its name here. */
const kinds: Kinds = {
  protocols: [http, postgres],
  channels: [slack],
}

const group = <Commands extends Group<Context>['commands']>(summary: string, commands: Commands): Group<Context> => ({
  kind: 'group',
  summary,
  commands,
})

const commands = group('An identity-aware gateway for AI agents', {
  init: initCommand,
  serve: serveCommand,
  migrate: migrateCommand,
  config: group('The configuration', { check: configCheckCommand, schema: configSchemaCommand }),
  login,
  logout,
  approvals,
  agents,
  policy: group('The policies', {
    check: policyCheckCommand,
    test: policyTestCommand,
    explain: policyExplainCommand,
    publish: policyPublishCommand,
  }),
  audit: group('The audit log', { verify: auditVerifyCommand, export: auditExportCommand, key: auditKeyCommand }),
  store: group('The store', { recover: storeRecoverCommand }),
})

const interrupted = new AbortController()
process.once('SIGINT', () => interrupted.abort())
const { configHome, controlUrl, typedAs } = readEnvironment()

const context: Context = {
  kinds,
  ...openTerminal({ input: process.stdin, output: process.stdout, error: process.stderr }, interrupted.signal),
  isTerminal: process.stderr.isTTY === true,
  typedAs,
  signal: interrupted.signal,
  clock: systemClock,
  configDir: settingsFolder(configHome, homedir()),
  defaultUrl: controlUrl,
  openLog: (level) => createLogger({ level }),
  quietLog: createLogger({ level: 'warn', destination: process.stderr }),
}

process.exitCode = await dispatch({ name: 'countersign', group: commands }, process.argv.slice(2), context)
