/** The session is over: no answer comes any more. */
export class SessionOver extends Error {
  override readonly name = 'SessionOver'
  readonly side: 'client' | 'upstream' | 'gateway'

  constructor(side: SessionOver['side'], message: string) {
    super(message)
    this.side = side
  }
}
