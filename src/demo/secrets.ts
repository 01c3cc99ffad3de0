import { randomBytes } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { readFileIfAny } from '../platform/files.ts'
import { generateKeys } from '../platform/load-keys.ts'

// Readable by every user of a container: who may read them is decided by what is mounted where.
const MODE = 0o444
/** Written last: where it is, all of them are. */
const LAST = 'agent/agent_secret'

/**
 * Makes every secret that docker-compose.yml needs, a file each, in a folder for each service that may know it: the agent
 * does not know the upstream's, nor Postgres the gateway's. False, and nothing is changed, if that was done before.
 */
export async function writeSecrets(directory: string): Promise<boolean> {
  if ((await readFileIfAny(join(directory, LAST))) !== null) return false
  const { payload, mac, cookie, assertion, checkpoint } = generateKeys()
  const upstreamToken = newSecret()
  const loginPassword = newSecret()
  const files = {
    'database/admin_password': newSecret(),
    'database/login_password': loginPassword,
    'gateway/login_password': loginPassword,
    'gateway/upstream_token': upstreamToken,
    'gateway/payload_key': payload.current,
    'gateway/mac_key': mac.current,
    'gateway/cookie_key': cookie.current,
    'gateway/assertion_key': assertion.current,
    'gateway/checkpoint_key': checkpoint.current,
    'billing/upstream_token': upstreamToken,
    [LAST]: newSecret(),
  }
  for (const [name, text] of Object.entries(files)) {
    const path = join(directory, name)
    await mkdir(dirname(path), { recursive: true })
    // An attempt that was interrupted may have left one that cannot be written any more.
    await rm(path, { force: true })
    await writeFile(path, text, { mode: MODE })
  }
  return true
}

function newSecret(): string {
  return randomBytes(24).toString('base64url')
}
