import { X509Certificate } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { beginScram } from '../../../../src/protocols/postgres/scram/client.ts'
import { bindingOf, ScramFault } from '../../../../src/protocols/postgres/scram/messages.ts'
import { answerScram } from '../../../../src/protocols/postgres/scram/server.ts'
import { selfSigned } from '../../../transports/tls.ts'

// The example of RFC 7677, section 3.
const CLIENT_NONCE = 'rOprNGfwEbeRWgbNEkqO'
const SERVER_NONCE = '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0'
const BOTH = CLIENT_NONCE + SERVER_NONCE
const SALT = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
const FIRST = `n,,n=user,r=${CLIENT_NONCE}`
const PROOF = 'dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ='
const FINAL = `c=biws,r=${BOTH},p=${PROOF}`

const own = selfSigned()
const certificate = own && new X509Certificate(own.cert)
const binding = certificate && bindingOf(certificate)

function serve({ isBound = false, password = 'pencil', nonce = SERVER_NONCE } = {}) {
  return answerScram({ password, salt: SALT, binding: isBound ? (binding ?? Buffer.alloc(32, 1)) : null, nonce })
}

test('answers as the RFC has it', async () => {
  const server = serve()
  expect(server.challenge('SCRAM-SHA-256', FIRST)).toBe(`r=${BOTH},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`)
  expect(await server.answer(FINAL)).toBe('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')
})

test('has no answer to a last message with any other character in it', async () => {
  for (let at = 0; at < FINAL.length; at++) {
    const server = serve()
    server.challenge('SCRAM-SHA-256', FIRST)
    const other = FINAL.slice(0, at) + (FINAL[at] === 'A' ? 'B' : 'A') + FINAL.slice(at + 1)
    const answer = await server.answer(other).catch((error: unknown) => error)
    expect(answer === null || answer instanceof ScramFault, other).toBe(true)
  }
})

test('has no answer to the proof of another password', async () => {
  const server = serve({ password: 'pencils' })
  server.challenge('SCRAM-SHA-256', FIRST)
  expect(await server.answer(FINAL)).toBeNull()
})

test.runIf(binding !== null)('offers to be bound where it can be, and is bound then', async () => {
  const server = serve({ isBound: true })
  expect(server.mechanisms).toEqual(['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'])
  const client = beginScram({ mechanisms: server.mechanisms, password: 'pencil', certificate, nonce: CLIENT_NONCE })
  const final = (await client?.answer(server.challenge(client.mechanism, client.first()))) ?? ''
  expect(client?.mechanism).toBe('SCRAM-SHA-256-PLUS')
  const proof = await server.answer(final)
  expect(() => client?.verify(proof ?? '')).not.toThrow()
  expect(serve().mechanisms).toEqual(['SCRAM-SHA-256'])
})

test.runIf(binding !== null)('refuses what is bound to another certificate', async () => {
  const server = answerScram({ password: 'pencil', salt: SALT, binding: Buffer.alloc(32, 7), nonce: SERVER_NONCE })
  const client = beginScram({ mechanisms: server.mechanisms, password: 'pencil', certificate, nonce: CLIENT_NONCE })
  const final = (await client?.answer(server.challenge(client.mechanism, client.first()))) ?? ''
  await expect(server.answer(final)).rejects.toThrow(ScramFault)
})

test('a client that cannot bind may go on without, where it is offered', async () => {
  const server = serve({ isBound: true })
  server.challenge('SCRAM-SHA-256', FIRST)
  expect(await server.answer(FINAL)).not.toBeNull()
})

describe('the first message is refused', () => {
  const r = `r=${CLIENT_NONCE}`
  test.each<[string, string, string, boolean?]>([
    ['of another mechanism', 'SCRAM-SHA-1', FIRST],
    ['of none', '', FIRST],
    ['of one that was not offered', 'SCRAM-SHA-256-PLUS', `p=tls-server-end-point,,n=,${r}`],
    ['bound within the mechanism that is not', 'SCRAM-SHA-256', `p=tls-server-end-point,,n=,${r}`, true],
    ['not bound within the one that is', 'SCRAM-SHA-256-PLUS', `n,,n=,${r}`, true],
    ['when the offer to bind was taken away', 'SCRAM-SHA-256', `y,,n=,${r}`, true],
    ['bound in another way', 'SCRAM-SHA-256-PLUS', `p=tls-unique,,n=,${r}`, true],
    ['for somebody else', 'SCRAM-SHA-256', `n,a=admin,n=,${r}`],
    ['with a mandatory extension', 'SCRAM-SHA-256', `n,,m=x,n=,${r}`],
    ['with an extension', 'SCRAM-SHA-256', `n,,n=,${r},x=1`],
    ['without a nonce', 'SCRAM-SHA-256', 'n,,n=,r='],
    ['with a nonce that cannot be one', 'SCRAM-SHA-256', 'n,,n=,r=a b'],
    ['with a comma in the name', 'SCRAM-SHA-256', `n,,n=a,b,${r}`],
    ['with a bad escape in the name', 'SCRAM-SHA-256', `n,,n=a=2D,${r}`],
    ['with more behind it', 'SCRAM-SHA-256', `${FIRST}\n`],
    ['that is empty', 'SCRAM-SHA-256', ''],
  ])('%s', (_name, mechanism, said, isBound = false) => {
    expect(() => serve({ isBound }).challenge(mechanism, said)).toThrow(ScramFault)
  })

  test('but not for a name with escapes, nor where nothing was offered to be bound', () => {
    expect(() => serve().challenge('SCRAM-SHA-256', `y,,n=a=2Cb=3Dc*,${r}`)).not.toThrow()
  })
})

describe('the last message is refused', () => {
  test.each([
    ['of an earlier conversation', `c=biws,r=${CLIENT_NONCE}other,p=${PROOF}`],
    ['with the nonce of the client alone', `c=biws,r=${CLIENT_NONCE},p=${PROOF}`],
    ['with another header than the first', `c=eSws,r=${BOTH},p=${PROOF}`],
    ['with bytes of a binding where there is none', `c=biwsAAAA,r=${BOTH},p=${PROOF}`],
    ['with an extension', `c=biws,r=${BOTH},x=1,p=${PROOF}`],
    ['with a short proof', `c=biws,r=${BOTH},p=AAAA`],
    ['with more behind the proof', `${FINAL},x=1`],
    ['that is empty', ''],
  ])('%s', async (_name, final) => {
    const server = serve()
    server.challenge('SCRAM-SHA-256', FIRST)
    await expect(server.answer(final)).rejects.toThrow(ScramFault)
  })

  test('before there was a challenge', async () => {
    await expect(serve().answer(FINAL)).rejects.toThrow(ScramFault)
  })

  test('when it is said again to another connection', async () => {
    const again = serve({ nonce: 'another' })
    again.challenge('SCRAM-SHA-256', FIRST)
    await expect(again.answer(FINAL)).rejects.toThrow(ScramFault)
  })
})
