import {
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { GatewayError } from '../domain/error.ts'
import { assertNotWorldWritable, assertPrivate, createFileAtomically, readFileIfAny } from './files.ts'
import type { KeyPair, Keys, SecretKey, SigningKey } from './keys.ts'

/** A pair of keys as the configuration gives it. */
export interface KeyConfig {
  readonly kid: string
  /** 32 bytes in hex or base64url; for signing keys a private key as PEM or as a JWK in JSON. */
  readonly current: string
  readonly previous?: { readonly kid: string; readonly key: string } | undefined
}

export type KeysConfig = { readonly [Purpose in keyof Keys]: KeyConfig }

const PURPOSES = ['payload', 'mac', 'cookie', 'assertion', 'checkpoint'] as const satisfies readonly (keyof Keys)[]
const SECRET_BYTES = 32
const MAX_KID_LENGTH = 64

/**
 * Reads the configured keys.
 * @throws GatewayError `config` naming the key that is no key, or that is used for two purposes; never its value
 */
export function readKeys(config: KeysConfig): Keys {
  const keys: Keys = {
    payload: readPair('payload', config.payload, readSecret),
    mac: readPair('mac', config.mac, readSecret),
    cookie: readPair('cookie', config.cookie, readSecret),
    assertion: readPair('assertion', config.assertion, readSigningKey),
    checkpoint: readPair('checkpoint', config.checkpoint, readCheckpointKey),
  }
  assertDistinct(keys)
  return keys
}

/** What is wrong with a key, and where in the configuration it stands. Its value is not in it. */
export interface KeyFault {
  readonly path: readonly string[]
  readonly message: string
}

/** What `readKeys` would refuse: the first fault of each purpose, so that a person sees them all at once. */
export function findKeyFaults(config: KeysConfig): readonly KeyFault[] {
  const faults = PURPOSES.flatMap((purpose) => {
    const read = purpose === 'checkpoint' ? readCheckpointKey : purpose === 'assertion' ? readSigningKey : readSecret
    return faultOf(['keys', purpose], () => readPair<SecretKey | SigningKey>(purpose, config[purpose], read))
  })
  return faults.length > 0 ? faults : faultOf(['keys'], () => readKeys(config))
}

function faultOf(path: readonly string[], read: () => unknown): readonly KeyFault[] {
  try {
    read()
    return []
  } catch (error) {
    if (error instanceof GatewayError && error.code === 'config') return [{ path, message: error.message }]
    throw error
  }
}

/**
 * Reads the keys of an embedded store from `keys.json` in the data directory, or makes them and writes them there,
 * for its owner alone.
 * @throws GatewayError `config` if others can read or replace the file
 */
export async function loadOrGenerateKeys(dataDir: string): Promise<Keys> {
  const path = keysPath(dataDir)
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  await assertNotWorldWritable(dataDir)
  const isThere = (await readFileIfAny(path)) !== null
  if (!isThere) await createFileAtomically(path, `${JSON.stringify(generateKeys(), null, 2)}\n`, 0o600)
  await assertPrivate(path)
  return readKeys(parseKeysFile(await readFile(path, 'utf8'), path))
}

/** Where the keys of an embedded store are kept. */
export function keysPath(dataDir: string): string {
  return join(dataDir, 'keys.json')
}

/** Fresh keys for every purpose, in the form in which the configuration takes them. */
export function generateKeys(): KeysConfig {
  const kid = randomBytes(6).toString('hex')
  const secret = () => ({ kid, current: randomBytes(SECRET_BYTES).toString('base64url') })
  const signing = ({ privateKey }: { privateKey: KeyObject }) => ({
    kid,
    current: privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  })
  return {
    payload: secret(),
    mac: secret(),
    cookie: secret(),
    // An assertion is signed for every call: P-256 takes two thirds of the time, and every upstream's library knows it.
    assertion: signing(generateKeyPairSync('ec', { namedCurve: 'P-256' })),
    checkpoint: signing(generateKeyPairSync('ed25519')),
  }
}

/**
 * The public halves of checkpoint keys, as `exportPublicKeys` writes them, one after the other.
 * @throws GatewayError `config` if the text holds none, or a private key
 */
export function readPublicKeys(text: string, name: string): readonly KeyObject[] {
  if (/-----BEGIN [A-Z ]*PRIVATE KEY-----/.test(text)) {
    throw new GatewayError('config', `${name} holds a private key: give the public half, as \`audit key\` prints it`)
  }
  const blocks = text.match(/-----BEGIN PUBLIC KEY-----[^-]+-----END PUBLIC KEY-----/g) ?? []
  const keys = blocks.map((block) => parsePublicKey(block))
  const known = keys.filter((key) => key?.asymmetricKeyType === 'ed25519').filter((key) => key !== null)
  if (known.length === 0 || known.length < blocks.length) {
    throw new GatewayError('config', `${name} is no Ed25519 public key in PEM`)
  }
  return known
}

function parsePublicKey(block: string): KeyObject | null {
  try {
    return createPublicKey(block)
  } catch {
    // The caller names the file; the parser's message says nothing more.
    return null
  }
}

function parseKeysFile(text: string, path: string): KeysConfig {
  let config: unknown
  try {
    config = JSON.parse(text)
  } catch {
    // The parser's message would quote the file.
    throw new GatewayError('config', `${path} is no JSON`)
  }
  if (!isKeysConfig(config)) throw new GatewayError('config', `${path} does not hold all keys of the gateway`)
  return config
}

function isKeysConfig(config: unknown): config is KeysConfig {
  if (typeof config !== 'object' || config === null) return false
  return PURPOSES.every((purpose) => {
    const pair: unknown = Reflect.get(config, purpose)
    if (typeof pair !== 'object' || pair === null || !('kid' in pair) || !('current' in pair)) return false
    const previous: unknown = 'previous' in pair ? pair.previous : undefined
    const isPair = typeof pair.kid === 'string' && typeof pair.current === 'string'
    return isPair && (previous === undefined || isPrevious(previous))
  })
}

function isPrevious(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || !('kid' in value) || !('key' in value)) return false
  return typeof value.kid === 'string' && typeof value.key === 'string'
}

function readPair<Key extends { readonly kid: string }>(
  purpose: string,
  config: KeyConfig,
  read: (name: string, kid: string, text: string) => Key,
): KeyPair<Key> {
  const { kid, current, previous } = config
  for (const each of previous ? [kid, previous.kid] : [kid]) {
    const isKid = each.length > 0 && each.length <= MAX_KID_LENGTH && /^[\w.:-]+$/.test(each)
    if (!isKid) throw new GatewayError('config', `keys.${purpose}: a kid is 1 to 64 letters, digits, or any of . : _ -`)
  }
  if (previous?.kid === kid)
    throw new GatewayError('config', `keys.${purpose}: the previous key has the kid of the current one`)
  return {
    kid,
    current: read(`keys.${purpose}.current`, kid, current),
    previous: previous ? read(`keys.${purpose}.previous`, previous.kid, previous.key) : null,
  }
}

function readSecret(name: string, kid: string, text: string): SecretKey {
  const trimmed = text.trim()
  const isHex = /^[0-9a-f]{64}$/i.test(trimmed)
  // Standard base64 too: it is what `openssl rand -base64 32` prints.
  const isBase64 = /^[\w+/-]{43}=?$/.test(trimmed)
  if (!isHex && !isBase64) throw new GatewayError('config', `${name} is not ${SECRET_BYTES} bytes in hex or base64url`)
  return { kid, key: createSecretKey(Buffer.from(trimmed, isHex ? 'hex' : 'base64')) }
}

function readSigningKey(name: string, kid: string, text: string): SigningKey {
  const key = parsePrivateKey(name, text)
  const publicKey = createPublicKey(key)
  if (key.asymmetricKeyType === 'ed25519') return { kid, algorithm: 'EdDSA', key, publicKey }
  const isP256 = key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1'
  if (isP256) return { kid, algorithm: 'ES256', key, publicKey }
  throw new GatewayError('config', `${name} is neither an Ed25519 nor a P-256 key`)
}

function readCheckpointKey(name: string, kid: string, text: string): SigningKey {
  const key = readSigningKey(name, kid, text)
  if (key.algorithm !== 'EdDSA') throw new GatewayError('config', `${name} must be an Ed25519 key`)
  return key
}

function parsePrivateKey(name: string, text: string): KeyObject {
  try {
    const trimmed = text.trim()
    return trimmed.startsWith('{')
      ? createPrivateKey({ key: JSON.parse(trimmed), format: 'jwk' })
      : createPrivateKey(trimmed)
  } catch {
    // Without the cause: the parser's message may quote the key.
    throw new GatewayError('config', `${name} is no private key in PEM or as a JWK`)
  }
}

/** Two purposes with one key would make a MAC of one a MAC of the other, and a leak of one a leak of both. */
function assertDistinct(keys: Keys): void {
  const seen = new Map<string, string>()
  for (const purpose of PURPOSES) {
    for (const which of ['current', 'previous'] as const) {
      const key = keys[purpose][which]?.key
      if (!key) continue
      const identity =
        key.type === 'secret'
          ? key.export().toString('hex')
          : JSON.stringify(createPublicKey(key).export({ format: 'jwk' }))
      const name = `keys.${purpose}.${which}`
      const other = seen.get(identity)
      if (other) throw new GatewayError('config', `${name} and ${other} are the same key`)
      seen.set(identity, name)
    }
  }
}
