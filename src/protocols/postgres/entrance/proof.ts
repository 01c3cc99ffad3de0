import { randomBytes } from 'node:crypto'
import type { Credential } from '../../../domain/call.ts'
import type { Principal } from '../../../domain/principal.ts'
import type { Refusal } from '../../../domain/refusal.ts'
import type { LoginChallenge } from '../../../identity/minted.ts'
import type { Link } from '../../../transports/tcp/link.ts'
import { ScramFault } from '../scram/messages.ts'
import { answerScram } from '../scram/server.ts'
import { type Authentication, encodeBackend } from '../wire/backend.ts'
import { Malformed, Reader } from '../wire/fields.ts'
import { CONVERSING, PROVING } from '../wire/framing.ts'

/** Asks for a token in the place of the password. Null if the client left. Throws `Malformed`. */
export async function proveByToken(
  link: Link,
  identify: (credential: Credential) => Promise<Principal | Refusal>,
): Promise<Principal | Refusal | null> {
  link.reframe(PROVING)
  ask(link, { method: 'cleartext' })
  const message = await read(link)
  if (message === null) return null
  const reader = new Reader(message, 5)
  const token = reader.text()
  reader.end()
  return await identify(token === '' ? { token: null, problem: null } : { token, via: 'password' })
}

const NONCE_BYTES = 18

/**
 * Has a client prove that it knows a password, by SCRAM (PostgreSQL 18, section 54.3). Null if it left. Throws `Malformed`
 * and `ScramFault`.
 *
 * @param binding what the conversation can be bound to; null without TLS
 */
export async function proveByPassword(
  link: Link,
  challenge: LoginChallenge,
  binding: Buffer | null,
): Promise<Principal | Refusal | null> {
  const scram = answerScram({ ...challenge, binding, nonce: randomBytes(NONCE_BYTES).toString('base64') })
  link.reframe(CONVERSING)
  ask(link, { method: 'sasl', mechanisms: scram.mechanisms })
  const first = await read(link)
  if (first === null) return null
  const { mechanism, said } = readFirst(first)
  const asked = scram.challenge(mechanism, said)
  ask(link, { method: 'sasl_continue', data: Buffer.from(asked) })
  const last = await read(link)
  if (last === null) return null
  const proof = await scram.answer(last.toString('latin1', 5))
  if (proof !== null) ask(link, { method: 'sasl_final', data: Buffer.from(proof) })
  return challenge.settle(proof !== null)
}

function ask(link: Link, asks: Authentication): void {
  link.write(encodeBackend({ type: 'authentication', asks }))
}

async function read(link: Link): Promise<Buffer | null> {
  const frame = await link.next()
  if (frame === null) return null
  if (frame.kind !== 'message') throw new Malformed('a password was expected')
  return frame.bytes
}

/** SASLInitialResponse: the mechanism, and what it begins with. */
function readFirst(message: Buffer): { mechanism: string; said: string } {
  const reader = new Reader(message, 5)
  const mechanism = reader.text()
  const said = reader.value()
  reader.end()
  if (said === null) throw new ScramFault('the first message is missing')
  return { mechanism, said: said.toString('latin1') }
}
