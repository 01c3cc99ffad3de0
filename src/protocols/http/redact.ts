export const REDACTED = '[redacted]'

const SECRET_NAME =
  /pass(?:word|wd|phrase)|secret|^token$|(?:access|refresh|id|auth|session|api|bearer|bot)[_-]?token|api[_-]?key|private[_-]?key|authorization|credential|^(?:cvv|cvc|pin|otp|ssn)$|client[_-]?assertion|signing[_-]?key/i

// How secrets look wherever they stand. Each takes linear time: it either begins where it cannot begin again within what
// it has walked over, or eats all that it has walked over.
const SECRET_VALUES: readonly RegExp[] = [
  /\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}/gi,
  /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /\b(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|sk_live_|rk_live_)[A-Za-z0-9_-]{10,}/g,
  /(?<=:\/\/)[^\s"'<>@/:]*:[^\s"'<>@/]+@/g,
]
// Where a JWT can stand: its three parts are looked for in the whole run, which is walked once.
const DOTTED_RUN = /[A-Za-z0-9_.-]{12,}/g

export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name)
}

/** The text with what looks like a secret replaced; the same text if nothing does. */
export function redactSecrets(text: string): string {
  let clean = text.replace(DOTTED_RUN, redactJwt)
  for (const pattern of SECRET_VALUES) clean = clean.replace(pattern, REDACTED)
  return clean
}

/** From the first `eyJ…` that another part follows to the end of the run. */
function redactJwt(run: string): string {
  let start = 0
  for (const part of run.split('.')) {
    const at = part.indexOf('eyJ')
    const end = start + part.length
    if (at !== -1 && part.length - at >= 8 && end + 1 < run.length && run[end + 1] !== '.') {
      return run.slice(0, start + at) + REDACTED
    }
    start = end + 1
  }
  return run
}
