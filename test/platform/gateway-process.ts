import { createInterface } from 'node:readline'
import { startEmbedded } from '../../src/platform/embedded.ts'
import { createLogger } from '../../src/platform/logger.ts'

// A process that has nothing but an embedded Postgres, to be killed. Says what it has as one line of JSON; ends it on
// the line "stop".
const [dataDir = '', settings = '{}'] = process.argv.slice(2)
const log = createLogger({ level: 'info', destination: process.stderr })
try {
  const { url, adminUrl, stop } = await startEmbedded({ dataDir, log, settings: JSON.parse(settings) })
  process.stdout.write(`${JSON.stringify({ url, adminUrl })}\n`)
  for await (const line of createInterface(process.stdin)) {
    if (line !== 'stop') continue
    await stop()
    break
  }
  process.exit()
} catch (error) {
  const { code, message } = error as { code?: string; message?: string }
  process.stdout.write(`${JSON.stringify({ code, message })}\n`)
  process.exit(1)
}
