import { readFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { AGENT, isPersonName, PEOPLE } from './company.ts'
import { decideOnce, inviteReviewer } from './deciders.ts'
import { DEFAULTS } from './defaults.ts'
import { startIdentityProvider } from './identity-provider.ts'
import { createNarrator, type Narrator } from './narrator.ts'
import { playDemo } from './play.ts'
import { writeSecrets } from './secrets.ts'
import { playStory, type Wish } from './story.ts'
import { startUpstream } from './upstream.ts'

const USAGE = `The demo: an agent, its owner, a reviewer and an auditor, on one machine.

  npm run demo                   you decide
  npm run demo -- --auto         a scripted reviewer decides; exits with 0 only if every step did what it should
      --data <directory>         keeps its files there
  npm run -s demo -- approve <approval> [--as finn] [--reason text] [--control url] [--issuer url]
  npm run -s demo -- deny <approval> …
                                 decides in a terminal, where there is no browser

The parts of it, by themselves (docker-compose.yml and countersign.dev.yaml use them):

  npm run -s demo -- identity-provider [--listen host:port] [--gateway url] [--control url] [--agent-secret-file file]
  npm run -s demo -- upstream [--listen host:port] [--token-file file]
  npm run -s demo -- agent --agent-secret-file file [--gateway url] [--control url] [--issuer url] [--upstream url]
                           [--countersign command]
  npm run -s demo -- secrets <directory>
`

const OPTIONS = {
  auto: { type: 'boolean', default: false },
  data: { type: 'string' },
  listen: { type: 'string' },
  gateway: { type: 'string', default: DEFAULTS.gateway },
  control: { type: 'string', default: DEFAULTS.control },
  issuer: { type: 'string', default: DEFAULTS.issuer },
  upstream: { type: 'string', default: DEFAULTS.upstream },
  'agent-secret-file': { type: 'string' },
  'token-file': { type: 'string' },
  countersign: { type: 'string', default: 'npm run -s countersign --' },
  as: { type: 'string', default: 'finn' },
  reason: { type: 'string', default: 'Decided in a terminal.' },
  help: { type: 'boolean', short: 'h', default: false },
} as const

type Options = ReturnType<typeof parse>['values']

function parse(args: string[]) {
  return parseArgs({ args, options: OPTIONS, allowPositionals: true })
}

/** The exit codes of a command that was interrupted, and of one that is not understood. */
const INTERRUPTED = 130
const MISUSED = 2

class Misuse extends Error {}

const interrupted = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupted.abort())
// Whoever started this as a part of theirs is gone.
process.once('disconnect', () => interrupted.abort())
// Nobody reads along any more.
process.stdout.on('error', () => interrupted.abort())

process.exitCode = await main(process.argv.slice(2), createNarrator(process.stdout), interrupted.signal)
// Listening to it would keep this process alive.
if (process.connected) process.disconnect()

async function main(args: string[], tell: Narrator, signal: AbortSignal): Promise<number> {
  try {
    const { values, positionals } = parse(args)
    if (values.help) process.stdout.write(USAGE)
    else await run(positionals, values, { tell, signal })
    return 0
  } catch (error) {
    if (signal.aborted) {
      tell.note('Interrupted: everything that was started has been ended.')
      return INTERRUPTED
    }
    tell.failure(error instanceof Error ? error.message : String(error))
    const isMisuse = error instanceof Misuse || (error instanceof TypeError && 'code' in error)
    return isMisuse ? MISUSED : 1
  }
}

async function run(
  [part, ...more]: string[],
  options: Options,
  { tell, signal }: { tell: Narrator; signal: AbortSignal },
): Promise<void> {
  const [what] = more
  if (part === undefined) {
    return await playDemo({ isAuto: options.auto, dataDir: options.data ?? null, tell, signal })
  }
  if (part === 'identity-provider') return await serve(await startProvider(options), signal)
  if (part === 'upstream') return await serve(await startBilling(options), signal)
  if (part === 'agent') return await playAgent(options, { tell, signal })
  if ((part === 'approve' || part === 'deny') && what !== undefined) {
    const { as, reason, control: controlUrl, issuer } = options
    if (!isPersonName(as)) throw new Misuse(`there is no ${as}: ${Object.keys(PEOPLE).join(', ')}`)
    return await decideOnce({ as, approval: what, decision: part, reason }, { issuer, controlUrl, tell, signal })
  }
  if (part === 'secrets' && what !== undefined) {
    const isDone = await writeSecrets(what)
    return tell.note(isDone ? `Made the secrets in ${what}.` : `${what} has its secrets already.`)
  }
  throw new Misuse(`not understood: ${[part, ...more].join(' ')}; --help says what there is`)
}

async function startProvider(options: Options): Promise<{ line: string; close(): Promise<void> }> {
  const { issuer, agentSecret, close } = await startIdentityProvider({
    ...readListen(options.listen ?? new URL(DEFAULTS.issuer).host),
    gatewayUrl: options.gateway,
    controlUrl: options.control,
    ...(options['agent-secret-file'] !== undefined && { agentSecret: await readSecret(options['agent-secret-file']) }),
  })
  const line = `The identity provider is ${issuer}`
  if (options['agent-secret-file'] !== undefined) return { line, close }
  const ask = `curl -s -u ${AGENT.id}:${agentSecret} ${issuer}/token -d grant_type=client_credentials`
  const take = `sed 's/.*"access_token":"\\([^"]*\\)".*/\\1/'`
  const told = `${line}, the agent’s secret is ${agentSecret}. A token of the agent, in the shell that calls:`
  return { line: `${told}\n\n  AGENT_TOKEN=$(${ask} | ${take})\n`, close }
}

async function startBilling(options: Options): Promise<{ line: string; close(): Promise<void> }> {
  const { url, close } = await startUpstream({
    ...readListen(options.listen ?? new URL(DEFAULTS.upstream).host),
    token: options['token-file'] === undefined ? null : await readSecret(options['token-file']),
  })
  return { line: `The billing API is ${url}`, close }
}

async function playAgent(options: Options, how: { tell: Narrator; signal: AbortSignal }): Promise<void> {
  const { gateway, control, issuer, upstream, countersign, 'agent-secret-file': file } = options
  if (file === undefined) throw new Misuse('--agent-secret-file is missing')
  const agentSecret = await readSecret(file)
  const world = { gatewayUrl: gateway, controlUrl: control, issuer, upstreamUrl: upstream, agentSecret }
  const typed = ({ approval, decision, reason }: Wish) => [
    `${countersign} approvals ${decision} ${approval} --url ${control} --reason "${reason}"`,
  ]
  const decider = inviteReviewer(world, { tell: how.tell, typed })
  await playStory(world, { ...how, decider })
}

async function serve(running: { line: string; close(): Promise<void> }, signal: AbortSignal): Promise<void> {
  process.stdout.write(`${running.line}\n`)
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve(), { once: true })
  })
  await running.close()
}

function readListen(text: string): { host: string; port: number } {
  const [, host, port] = /^([\d.]+|localhost):(\d{1,5})$/.exec(text) ?? []
  if (host === undefined) throw new Misuse(`--listen ${text} is not host:port`)
  return { host, port: Number(port) }
}

async function readSecret(path: string): Promise<string> {
  return (await readFile(path, 'utf8')).trim()
}
