import { createHash, createHmac, pbkdf2Sync, X509Certificate } from 'node:crypto'
import { expect, test } from 'vitest'
import { beginScram } from '../../../../src/protocols/postgres/scram/client.ts'
import { ScramFault } from '../../../../src/protocols/postgres/scram/messages.ts'
import { selfSigned } from '../../../transports/tls.ts'

const NONCE = 'rOprNGfwEbeRWgbNEkqO'
const SALT = 'W22ZaJ0SNY7soEsUEjb6gQ=='
const SERVER_FIRST = `r=${NONCE}%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=${SALT},i=4096`
const own = selfSigned()
const certificate = own && new X509Certificate(own.cert)

/** What a server that knows this password says to a proof; null if the proof is wrong. */
function check(password: string, clientFirst: string, answer: string): string | null {
  const mac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest()
  const salted = pbkdf2Sync(password, Buffer.from(SALT, 'base64'), 4096, 32, 'sha256')
  const withoutProof = answer.slice(0, answer.lastIndexOf(',p='))
  const signed = `${clientFirst.replace(/^[^,]*,,/, '')},${SERVER_FIRST},${withoutProof}`
  const stored = createHash('sha256').update(mac(salted, 'Client Key')).digest()
  const signature = mac(stored, signed)
  const proof = Buffer.from(answer.slice(answer.lastIndexOf(',p=') + 3), 'base64')
  const key = Buffer.from(proof.map((byte, index) => byte ^ (signature[index] ?? 0)))
  if (!createHash('sha256').update(key).digest().equals(stored)) return null
  return `v=${mac(mac(salted, 'Server Key'), signed).toString('base64')}`
}

function begin(mechanisms: readonly string[], { isSecure = false, password = 'pencil' } = {}) {
  const scram = beginScram({ mechanisms, password, certificate: isSecure ? certificate : null, nonce: NONCE })
  if (!scram) throw new Error('no mechanism')
  return scram
}

test('proves the password, and asks the server for its proof', async () => {
  const scram = begin(['SCRAM-SHA-256'])
  const answer = await scram.answer(SERVER_FIRST)
  const final = check('pencil', scram.first(), answer) ?? ''
  expect(() => scram.verify(final)).not.toThrow()
  expect(() => scram.verify(final.replace('v=', 'v=A'))).toThrow(ScramFault)
  expect(() => scram.verify(`v=${Buffer.alloc(32).toString('base64')}`)).toThrow(ScramFault)
  expect(() => scram.verify('e=other-error')).toThrow(ScramFault)
})

test('no proof is accepted before a challenge was answered', () => {
  expect(() => begin(['SCRAM-SHA-256']).verify(`v=${Buffer.alloc(32).toString('base64')}`)).toThrow(ScramFault)
})

test('a password is prepared as the server prepares it', async () => {
  const scram = begin(['SCRAM-SHA-256'], { password: 'I\u00adX\u00a0\u2168' })
  expect(check('IX IX', scram.first(), await scram.answer(SERVER_FIRST))).not.toBeNull()
})

test.runIf(certificate !== null)(
  'is bound to the certificate where both can, and says so where the server cannot',
  async () => {
    const offered = ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256']
    const bound = begin(offered, { isSecure: true })
    expect([bound.mechanism, bound.first().split(',')[0]]).toEqual(['SCRAM-SHA-256-PLUS', 'p=tls-server-end-point'])
    const answer = await bound.answer(SERVER_FIRST)
    const header = Buffer.from('p=tls-server-end-point,,')
    const hash = createHash('sha256')
      .update(certificate?.raw ?? '')
      .digest()
    expect(answer).toContain(`c=${Buffer.concat([header, hash]).toString('base64')},`)
    expect(check('pencil', bound.first(), answer)).not.toBeNull()

    const stripped = begin(['SCRAM-SHA-256'], { isSecure: true })
    expect([stripped.mechanism, stripped.first()[0]]).toEqual(['SCRAM-SHA-256', 'y'])
    expect([begin(offered).mechanism, begin(offered).first()[0]]).toEqual(['SCRAM-SHA-256', 'n'])
  },
)

test('speaks nothing else', () => {
  for (const mechanisms of [[], ['OAUTHBEARER'], ['SCRAM-SHA-256-PLUS']]) {
    expect(beginScram({ mechanisms, password: 'x', certificate: null, nonce: NONCE })).toBeNull()
  }
})

test.each([
  ['another nonce', `r=x${NONCE}more,s=${SALT},i=4096`],
  ['only our nonce', `r=${NONCE},s=${SALT},i=4096`],
  ['too many rounds', `r=${NONCE}x,s=${SALT},i=1000001`],
  ['no rounds', `r=${NONCE}x,s=${SALT},i=0`],
  ['an extension', `m=x,r=${NONCE}x,s=${SALT},i=4096`],
  ['no salt', `r=${NONCE}x,s=,i=4096`],
  ['an error', 'e=unknown-user'],
])('refuses a challenge with %s', async (_name, challenge) => {
  await expect(begin(['SCRAM-SHA-256']).answer(challenge)).rejects.toThrow(ScramFault)
})
