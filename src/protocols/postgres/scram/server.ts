import { timingSafeEqual } from 'node:crypto'
import {
  BOUND,
  deriveKeys,
  encodeBinding,
  hmac,
  type Mechanism,
  NONCE,
  SCRAM,
  SCRAM_PLUS,
  ScramFault,
  sha256,
  xor,
} from './messages.ts'

/** A conversation as the server, in the order of its functions. Both throw `ScramFault`. */
export interface ScramServer {
  /** What is offered to the client, the strongest first. */
  readonly mechanisms: readonly Mechanism[]
  /** The challenge, for what the client said first. */
  challenge(mechanism: string, clientFirst: string): string
  /** The server's own proof, for that of the client; null if the client does not know the password. */
  answer(clientFinal: string): Promise<string | null>
}

/** What RFC 7677 asks for at least, and some clients insist on. More hides nothing better: these passwords have 256 bits. */
const ITERATIONS = 4096

/**
 * @param how.password in ASCII
 * @param how.binding of the TLS connection to the certificate that was shown on it; null if there is none
 * @param how.nonce random printable ASCII without commas, another one each time: what was said once proves nothing again
 */
export function answerScram(how: {
  readonly password: string
  readonly salt: Buffer
  readonly binding: Buffer | null
  readonly nonce: string
}): ScramServer {
  const { password, salt, binding } = how
  let begun: { readonly header: string; readonly nonce: string; readonly said: string } | null = null

  return {
    mechanisms: binding === null ? [SCRAM] : [SCRAM_PLUS, SCRAM],
    challenge(mechanism, clientFirst) {
      const { header, bare, nonce: clientNonce } = readClientFirst(clientFirst)
      checkBinding(mechanism, header, binding !== null)
      const nonce = clientNonce + how.nonce
      const serverFirst = `r=${nonce},s=${salt.toString('base64')},i=${ITERATIONS}`
      begun = { header, nonce, said: `${bare},${serverFirst}` }
      return serverFirst
    },
    async answer(clientFinal) {
      if (begun === null) throw new ScramFault('it comes before the challenge')
      const { header, nonce, said } = begun
      const { withoutProof, bound, nonce: given, proof } = readClientFinal(clientFinal)
      if (given !== nonce) throw new ScramFault('the nonce is another')
      if (bound !== encodeBinding(header, binding)) throw new ScramFault('the login is bound to another certificate')
      const keys = await deriveKeys(password, salt, ITERATIONS)
      const signed = `${said},${withoutProof}`
      const client = xor(proof, hmac(keys.stored, signed))
      if (!timingSafeEqual(sha256(client), keys.stored)) return null
      return `v=${hmac(keys.server, signed).toString('base64')}`
    },
  }
}

/** Without another identity to act as, and without extensions, of which none is known. Its name is not looked at. */
const CLIENT_FIRST = new RegExp(`^(${BOUND}|[ny],,)(n=(?:[\\x20-\\x2b\\x2d-\\x3c\\x3e-\\x7e]|=2C|=3D)*,r=(${NONCE}))$`)

function readClientFirst(text: string): { header: string; bare: string; nonce: string } {
  const [, header, bare, nonce] = CLIENT_FIRST.exec(text) ?? []
  if (header === undefined || bare === undefined || nonce === undefined) {
    throw new ScramFault('the first message is not one')
  }
  return { header, bare, nonce }
}

const CLIENT_FINAL = new RegExp(`^(c=([A-Za-z0-9+/]+={0,2}),r=(${NONCE})),p=([A-Za-z0-9+/]{43}=)$`)

function readClientFinal(text: string): { withoutProof: string; bound: string; nonce: string; proof: Buffer } {
  const [, withoutProof, bound, nonce, proof] = CLIENT_FINAL.exec(text) ?? []
  if (withoutProof === undefined || bound === undefined || nonce === undefined || proof === undefined) {
    throw new ScramFault('the last message is not one')
  }
  return { withoutProof, bound, nonce, proof: Buffer.from(proof, 'base64') }
}

/** To a client that says that it would have bound the connection, somebody in between has not passed the offer on. */
function checkBinding(mechanism: string, header: string, isOffered: boolean): void {
  const isBound = header === BOUND
  if (mechanism === SCRAM_PLUS ? !isOffered : mechanism !== SCRAM) throw new ScramFault('the mechanism was not offered')
  if (isBound !== (mechanism === SCRAM_PLUS)) throw new ScramFault('the mechanism is not the one of the first message')
  if (header === 'y,,' && isOffered) throw new ScramFault('the offer to bind the connection did not arrive')
}
