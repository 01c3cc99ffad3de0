import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { Statement } from '../audit/export.ts'
import { type HeadFile, headOf, isSignedHead, parseHeadFile, type SignatureCheck } from '../audit/head.ts'
import { headPath } from '../audit/open.ts'
import type { Witness } from '../audit/verify.ts'
import type { Config } from '../config.ts'
import { GatewayError } from '../domain/error.ts'
import { isSignedByAny, isValidSignature } from '../platform/keys.ts'
import { readPublicKeys } from '../platform/load-keys.ts'
import { dataDirOf, keysIfAny } from './open-store.ts'

/** Where heads and the keys that sign them may come from. */
export interface Sources {
  /** A file with public keys; then those of the configuration are not used. */
  readonly key: string | undefined
  /** A file with a head; then that of `data_dir` is not used. */
  readonly head: string | undefined
  /** Null for who checks an export elsewhere. */
  readonly config: Config | null
  /** What an export says of itself; null for the store, and for an export that says nothing. */
  readonly statement: Statement | null
}

export interface Found {
  readonly witnesses: readonly Witness[]
  /** Whether there is a key to check their signatures with. */
  readonly isKeyKnown: boolean
}

/** The heads that a log can be compared with. Throws GatewayError `config` if a head that was asked for is none of ours. */
export async function findWitnesses(sources: Sources): Promise<Found> {
  const check = await findCheck(sources)
  const witnesses: Witness[] = []
  const own = sources.statement?.head
  if (own) witnesses.push(witness(own, { name: 'the head in the file', check, isLater: false }))

  const path = sources.head ?? (sources.config && headPath(dataDirOf(sources.config)))
  if (path !== null && (sources.head !== undefined || existsSync(path))) {
    // An export that says where it ends is a copy of an earlier moment, and no worse for that.
    const given = witness(await readHead(path), {
      name: `the head ${path}`,
      check,
      isLater: sources.statement !== null,
    })
    if (check && !given.isSigned) throw new GatewayError('config', `${path} has no valid signature by the keys given`)
    witnesses.push(given)
  }
  return { witnesses, isKeyKnown: check !== null }
}

/** Null where there is no key to check a signature with. */
async function findCheck({ key, config }: Sources): Promise<SignatureCheck | null> {
  if (key !== undefined) {
    const publicKeys = readPublicKeys(await readText(key), key)
    return (message, { signature }) => isSignedByAny(publicKeys, message, signature)
  }
  const keys = config && (await keysIfAny(config))
  return keys && ((message, claimed) => isValidSignature(keys.checkpoint, message, claimed))
}

function witness(
  file: HeadFile,
  { name, check, isLater }: { name: string; check: SignatureCheck | null; isLater: boolean },
): Witness {
  const { seq, hash, atMs } = headOf(file)
  const isSigned = check !== null && isSignedHead(file, check)
  return { seq, hash, name: `${name}, of ${new Date(atMs).toISOString()},`, isSigned, isLater }
}

async function readHead(path: string): Promise<HeadFile> {
  const text = await readText(path)
  try {
    return parseHeadFile(text)
  } catch (error) {
    throw new GatewayError('config', `${path} is no head file`, { cause: error })
  }
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw new GatewayError('config', `${path} cannot be read`, { cause: error })
  }
}
