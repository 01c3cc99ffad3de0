import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'

/** How an answer differs from that of a device that does as it should. */
export interface Wrongs {
  readonly origin?: string
  readonly rpId?: string
  readonly challenge?: string
  readonly type?: string
  readonly counter?: number
  /** The device did not check who its person is. */
  readonly isUnverified?: boolean
  readonly isAbsent?: boolean
  readonly id?: string
}

interface Options {
  readonly challenge: string
}

const [PRESENT, VERIFIED, ATTESTED] = [0x01, 0x04, 0x40]

/** A device with one passkey (WebAuthn level 3, section 6): ES256, no attestation, and a counter. */
export function createAuthenticator(place: { readonly origin: string; readonly rpId: string }) {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const credentialId = randomBytes(32)
  let counter = 0

  function clientData(type: string, challenge: string, wrongs: Wrongs): Buffer {
    const said = {
      type: wrongs.type ?? type,
      challenge: wrongs.challenge ?? challenge,
      origin: wrongs.origin ?? place.origin,
    }
    return Buffer.from(JSON.stringify({ ...said, crossOrigin: false }))
  }

  function authenticatorData(wrongs: Wrongs, attested: Buffer | null): Buffer {
    const flags =
      (wrongs.isAbsent ? 0 : PRESENT) |
      (wrongs.isUnverified || wrongs.isAbsent ? 0 : VERIFIED) |
      (attested ? ATTESTED : 0)
    const count = Buffer.alloc(4)
    count.writeUInt32BE(wrongs.counter ?? counter)
    const rp = createHash('sha256')
      .update(wrongs.rpId ?? place.rpId)
      .digest()
    return Buffer.concat([rp, Buffer.of(flags), count, ...(attested ? [attested] : [])])
  }

  function answer(wrongs: Wrongs, response: Record<string, Buffer>): string {
    const id = wrongs.id ?? credentialId.toString('base64url')
    const texts = Object.fromEntries(
      Object.entries(response).map(([name, value]) => [name, value.toString('base64url')]),
    )
    return JSON.stringify({ id, rawId: id, type: 'public-key', clientExtensionResults: {}, response: texts })
  }

  return {
    /** What `navigator.credentials.create` leads to, as JSON. */
    create({ challenge }: Options, wrongs: Wrongs = {}): string {
      const { x = '', y = '' } = publicKey.export({ format: 'jwk' })
      const coordinates = [x, y].map((text) => Buffer.from(text, 'base64url'))
      // COSE (RFC 9052): kty EC2, alg ES256, crv P-256, x, y
      const key = Buffer.concat([
        Buffer.from('a501020326200121', 'hex'),
        byteString(coordinates[0] ?? Buffer.alloc(0)),
        Buffer.of(0x22),
        byteString(coordinates[1] ?? Buffer.alloc(0)),
      ])
      const length = Buffer.alloc(2)
      length.writeUInt16BE(credentialId.length)
      const attested = Buffer.concat([Buffer.alloc(16), length, credentialId, key])
      const attestationObject = Buffer.concat([
        Buffer.of(0xa3),
        textString('fmt'),
        textString('none'),
        textString('attStmt'),
        Buffer.of(0xa0),
        textString('authData'),
        byteString(authenticatorData(wrongs, attested)),
      ])
      return answer(wrongs, { clientDataJSON: clientData('webauthn.create', challenge, wrongs), attestationObject })
    },

    /** What `navigator.credentials.get` leads to, as JSON. */
    get({ challenge }: Options, wrongs: Wrongs = {}): string {
      counter += 1
      const clientDataJSON = clientData('webauthn.get', challenge, wrongs)
      const data = authenticatorData(wrongs, null)
      const hash = createHash('sha256').update(clientDataJSON).digest()
      const signature = sign('sha256', Buffer.concat([data, hash]), privateKey)
      return answer(wrongs, { clientDataJSON, authenticatorData: data, signature })
    },
  }
}

/** CBOR (RFC 8949, section 3.1), up to 255 bytes. */
function byteString(bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.of(0x58, bytes.length), bytes])
}

function textString(text: string): Buffer {
  return Buffer.concat([Buffer.of(0x60 + text.length), Buffer.from(text)])
}
