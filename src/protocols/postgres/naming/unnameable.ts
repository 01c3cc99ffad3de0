/** The statement gets no names: the parser knows something that naming does not, or it may not be sent at all. */
export class Unnameable extends Error {
  readonly code: string
  readonly hint: string | undefined
  constructor(code: string, message: string, hint?: string) {
    super(message)
    this.code = code
    this.hint = hint
  }
}

export function unknownNode(what: string): Unnameable {
  return new Unnameable('0A000', `Not executed. The gateway cannot name this statement (${what.slice(0, 60)}).`)
}
