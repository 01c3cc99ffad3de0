import { loadConfig } from '../config.ts'
import type { Logger } from '../platform/logger.ts'
import { defineCommand } from './cli.ts'
import type { RunningGateway } from './gateway.ts'
import { configOption, DEFAULT_CONFIG } from './options.ts'
import type { Context, Kinds } from './parts.ts'

/** In this time a second signal is the first: npm passes a Ctrl-C on that the terminal has sent to the gateway, too. */
const ECHO_MS = 1000

export const serveCommand = defineCommand({
  summary: 'Run a gateway',
  details:
    'It ends in order on SIGTERM, and reads policies and credentials anew on SIGHUP. It logs JSON lines on its output.',
  options: {
    config: configOption,
    'log-level': { type: 'string', value: 'level', doc: 'trace, debug, info (the default), warn or error' },
  },
  async run({ options }, { kinds, openLog }: Context) {
    await serve({ configFile: options.config ?? DEFAULT_CONFIG, kinds, log: openLog(options['log-level'] ?? 'info') })
  },
})

/**
 * Runs a gateway until SIGTERM or SIGINT, which let calls under way finish; a second one ends it at once.
 * SIGHUP brings in policies and upstreams' credentials anew.
 */
async function serve(how: { configFile: string; kinds: Kinds; log: Logger }): Promise<void> {
  const { configFile, kinds, log } = how
  const config = loadConfig(configFile, kinds)
  // Only here: of all that the other commands load, a gateway would be the most.
  const { startGateway } = await import('./gateway.ts')
  const gateway = await startGateway(config, { kinds, log })
  const { upstreams } = gateway
  log.info(
    {
      gateway: gateway.gateway.url,
      control: gateway.control.url,
      metrics: gateway.metrics?.url,
      ...(Object.keys(upstreams).length === 0 ? {} : { upstreams }),
    },
    'countersign is serving',
  )

  process.on('SIGHUP', () => {
    reload(gateway, how).catch((error: unknown) => log.error({ err: error }, 'the reload failed; what was stays'))
  })
  const signal = await toldToEnd()
  log.info({ signal }, 'draining')
  await gateway.drain()
  log.info('stopped')
}

async function reload(gateway: RunningGateway, { configFile, kinds, log }: Parameters<typeof serve>[0]): Promise<void> {
  const { result } = await gateway.reload(loadConfig(configFile, kinds))
  if (result === 'refused')
    log.error('reloaded credentials; the policies are not in order, and those before stay active')
  else log.info({ policies: result }, 'reloaded policies and credentials; other settings need a restart')
}

/** Resolves with the first signal. Whoever asks again later means it: the process ends at once. */
function toldToEnd(): Promise<NodeJS.Signals> {
  let firstAt: number | null = null
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        if (firstAt !== null && performance.now() - firstAt > ECHO_MS) process.exit(1)
        firstAt ??= performance.now()
        resolve(signal)
      })
    }
  })
}
