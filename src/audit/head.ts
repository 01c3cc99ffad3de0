import { z } from 'zod'
import { lengthPrefixed } from '../domain/bytes.ts'
import { GatewayError } from '../domain/error.ts'
import { readFileIfAny, writeFileAtomically } from '../platform/files.ts'
import { isValidSignature, type KeyPair, type SigningKey, sign } from '../platform/keys.ts'
import type { Head } from './store.ts'

/** The end of the chain as a gateway has seen it, in the cluster it has seen it in. */
export interface SeenHead extends Head {
  readonly systemIdentifier: string
  readonly timeline: string
  /** When it was seen; milliseconds since the epoch. */
  readonly atMs: number
}

/** Whether one of the gateway's checkpoint keys has signed the message. */
export type SignatureCheck = (
  message: Uint8Array,
  claimed: { readonly kid: string; readonly signature: Uint8Array },
) => boolean

/** The last that a Date can be (ECMA-262, section 21.4.1.1). */
const LAST_MOMENT_MS = 8_640_000_000_000_000
const HEX_SHA256 = /^[0-9a-f]{64}$/

/** A head file: what it states, and its signature. Being of this shape says nothing of the signature. */
export const headFile = z.strictObject({
  version: z.literal(1),
  system_identifier: z.string().regex(/^[0-9]{1,20}(\.[0-9]{1,10}){0,2}$/),
  timeline: z.string().regex(/^[0-9A-F]{8}$/),
  seq: z.int().min(0),
  hash: z.string().regex(HEX_SHA256),
  at: z.int().min(0).max(LAST_MOMENT_MS),
  kid: z.string(),
  signature: z.base64(),
})

export type HeadFile = z.output<typeof headFile>

/** The text of a head file: what it states, and an Ed25519 signature (RFC 8032) by a key that the store does not have. */
export function signHead(head: SeenHead, checkpoint: KeyPair<SigningKey>): string {
  const { kid, signature } = sign(checkpoint, messageOf(head))
  const file: HeadFile = {
    version: 1,
    system_identifier: head.systemIdentifier,
    timeline: head.timeline,
    seq: head.seq,
    hash: head.hash.toString('hex'),
    at: head.atMs,
    kid,
    signature: signature.toString('base64'),
  }
  return `${JSON.stringify(file)}\n`
}

/** Reads a head file. Throws `GatewayError('config')` if it is none, or if none of our keys has signed it. */
export function parseHead(text: string, isSigned: SignatureCheck): SeenHead {
  const file = parseHeadFile(text)
  if (!isSignedHead(file, isSigned)) throw new GatewayError('config', 'a head file without a valid signature')
  return headOf(file)
}

/** What is in a head file, its signature not checked. Throws `GatewayError('config')` if it is none. */
export function parseHeadFile(text: string): HeadFile {
  const { data } = headFile.safeParse(parseJson(text))
  if (!data) throw new GatewayError('config', 'not a head file')
  return data
}

export function headOf(file: HeadFile): SeenHead {
  return {
    systemIdentifier: file.system_identifier,
    timeline: file.timeline,
    seq: file.seq,
    hash: Buffer.from(file.hash, 'hex'),
    atMs: file.at,
  }
}

export function isSignedHead(file: HeadFile, isSigned: SignatureCheck): boolean {
  return isSigned(messageOf(headOf(file)), { kid: file.kid, signature: Buffer.from(file.signature, 'base64') })
}

/** Null if there is none; throws as `parseHead` does. */
export async function readHeadFile(path: string, checkpoint: KeyPair<SigningKey>): Promise<SeenHead | null> {
  const text = await readFileIfAny(path)
  if (text === null) return null
  return parseHead(text, (message, claimed) => isValidSignature(checkpoint, message, claimed))
}

/** Durable when it returns. */
export async function writeHeadFile(path: string, head: SeenHead, checkpoint: KeyPair<SigningKey>): Promise<void> {
  await writeFileAtomically(path, signHead(head, checkpoint), 0o600)
}

function messageOf({ systemIdentifier, timeline, seq, hash, atMs }: SeenHead): Buffer {
  return lengthPrefixed('countersign head v1', [systemIdentifier, timeline, `${seq}`, hash, `${atMs}`])
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // The schema refuses it, with the same message as any other text that is no head file.
    return null
  }
}
