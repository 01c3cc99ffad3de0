import { join } from 'node:path'
import { z } from 'zod'
import { GatewayError } from '../domain/error.ts'
import { readFileIfAny, writeFileAtomically } from '../platform/files.ts'
import { computeMac, isValidMac, type KeyPair, type SecretKey } from '../platform/keys.ts'

/** Which version was active last, kept outside of the store: whoever deletes the newest there brings no older one back. */
export interface PolicyMark {
  /** 0 if none was. Throws `GatewayError('config')` if the file is none of ours. */
  read(): Promise<number>
  write(version: number): Promise<void>
}

const LABEL = 'countersign policy mark v1'

const markFile = z.strictObject({ version: z.int().min(1), kid: z.string(), mac: z.base64() })

/** The mark in a data directory. */
export function openPolicyMark(dataDir: string, keys: KeyPair<SecretKey>): PolicyMark {
  const path = join(dataDir, 'policy.json')
  return {
    async read() {
      const text = await readFileIfAny(path)
      if (text === null) return 0
      const { data } = markFile.safeParse(parseJson(text))
      if (
        data &&
        isValidMac(keys, LABEL, [`${data.version}`], { kid: data.kid, mac: Buffer.from(data.mac, 'base64') })
      ) {
        return data.version
      }
      throw new GatewayError('config', `${path} is damaged, or was written with other keys: remove it if you know why`)
    },
    async write(version) {
      const { kid, mac } = computeMac(keys, LABEL, [`${version}`])
      await writeFileAtomically(path, `${JSON.stringify({ version, kid, mac: mac.toString('base64') })}\n`, 0o600)
    },
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The schema refuses it, with the same message as what is JSON and no mark.
    return null
  }
}
