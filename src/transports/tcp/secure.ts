import { constants } from 'node:crypto'
import type { Socket } from 'node:net'
import tls, { type SecureContext, type TLSSocket } from 'node:tls'

/** What a listener proves itself with. */
export interface Certificate {
  readonly cert: string
  readonly key: string
}

/** @throws if the certificate or its key cannot be read */
export function serverContext({ cert, key }: Certificate): SecureContext {
  return tls.createSecureContext({ cert, key, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_RENEGOTIATION })
}

/**
 * Speaks TLS, as the server, on a connection that was plain so far. Resolves once the handshake is done, with null if it
 * fails: then the connection is ended. How long it may take is its listener's to say.
 *
 * @param how.alpn the one protocol spoken here (RFC 7301): a client that offers others is refused; one that offers none
 *   is, too, where it `isDemanded`
 */
export function secureServer(
  socket: Socket,
  how: { readonly context: SecureContext; readonly alpn: string; readonly isDemanded: boolean },
): Promise<TLSSocket | null> {
  return new Promise((resolve) => {
    const secure = new tls.TLSSocket(socket, {
      isServer: true,
      secureContext: how.context,
      ALPNProtocols: [how.alpn],
      allowHalfOpen: true,
    } as tls.TLSSocketOptions)
    const fail = () => {
      secure.destroy()
      socket.destroy()
      resolve(null)
    }
    secure.once('error', fail)
    secure.once('close', fail)
    secure.once('secure', () => {
      if (how.isDemanded && secure.alpnProtocol !== how.alpn) return fail()
      secure.off('error', fail).off('close', fail)
      secure.on('error', () => {})
      resolve(secure)
    })
  })
}

export interface UpstreamTls {
  /** The name its certificate has to have, and that it is asked for. */
  readonly host: string
  /** PEM certificates to trust in place of the system's. */
  readonly ca: string | null
  readonly alpn: string
}

/**
 * Speaks TLS, as the client, on a connection that was plain so far. The certificate is verified; there is no way not to.
 *
 * @throws whatever the handshake or the certificate fails with; the connection is ended then
 */
export function secureClient(socket: Socket, { host, ca, alpn }: UpstreamTls): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const secure = tls.connect({
      socket,
      servername: /^[0-9.]+$|:/.test(host) ? '' : host,
      host,
      ALPNProtocols: [alpn],
      minVersion: 'TLSv1.2',
      rejectUnauthorized: true,
      ...(ca === null ? {} : { ca }),
    })
    const fail = (error: Error) => {
      secure.destroy()
      socket.destroy()
      reject(error)
    }
    const close = () => fail(new Error('the connection was closed during the TLS handshake'))
    secure.once('error', fail)
    secure.once('close', close)
    secure.once('secureConnect', () => {
      secure.off('error', fail).off('close', close)
      secure.on('error', () => {})
      resolve(secure)
    })
  })
}
