import pg from 'pg'

/**
 * A connection that is not open yet. With `require_auth=scram-sha-256` in its URL (libpq's name for it) it is broken off
 * unless the server proves, too, that it knows the password (SCRAM, RFC 5802): whoever else answers at that address gets
 * neither the password nor a statement. Without, a server may ask for the password in the clear, as some do over TLS.
 *
 * A class, because a pool makes its clients with `new`.
 */
export class StoreClient extends pg.Client {
  constructor(settings: pg.ClientConfig) {
    super(settings)
    if (requiresScram(settings.connectionString)) demandScram(this)
  }
}

function requiresScram(url: string | undefined): boolean {
  return url !== undefined && URL.canParse(url) && new URL(url).searchParams.get('require_auth') === 'scram-sha-256'
}

/** Listens before the client itself does, so that nothing of an answer is sent. */
function demandScram({ connection }: pg.Client): void {
  let isProven = false
  const breakOff = () => {
    if (!isProven) connection.stream.destroy(new Error('the server does not prove that it knows the password'))
  }
  // The client checks the server's signature right after this, and fails if it is wrong.
  connection.once('authenticationSASLFinal', () => {
    isProven = true
  })
  for (const event of ['authenticationCleartextPassword', 'authenticationMD5Password', 'authenticationOk']) {
    connection.once(event, breakOff)
  }
}
