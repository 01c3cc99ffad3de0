/** What stands where a secret was. */
export const REDACTED = '[redacted]'

const MAX_TEXT = 8_192
const MAX_DEPTH = 12

/**
 * Takes credentials out of anything that is about to be written: by the names of properties and headers, in every
 * shape they come in (objects, arrays of pairs, Node's flat `rawHeaders`, `{name, value}`), and by how they look
 * within text. Takes JSON values; strings are cut to 8,192 characters.
 */
export function redact(value: unknown, depth = 0): unknown {
  if (typeof value === 'string') return redactText(value)
  if (typeof value !== 'object' || value === null) return value
  if (depth >= MAX_DEPTH) return '[too deep]'
  if (Array.isArray(value)) return isBytes(value) ? `[${value.length} bytes]` : redactList(value, depth)
  if ('type' in value && value.type === 'Buffer' && 'data' in value) return '[bytes]'
  const entries = Object.entries(value)
  if (entries.length > 0 && entries.every(([key], index) => key === `${index}`)) return `[${entries.length} bytes]`

  const isKey = 'kty' in value
  const isNamed = ['name', 'key', 'header'].some((field) => isSecretName(String(Reflect.get(value, field) ?? '')))
  const clean: Record<string, unknown> = {}
  for (const [key, inner] of entries) {
    const isSecret = isSecretName(key) || (isNamed && /^values?$/i.test(key)) || (isKey && PRIVATE_JWK.has(key))
    clean[redactText(key)] = isSecret ? mask(inner) : redact(inner, depth + 1)
  }
  return clean
}

/** Headers come as `[name, value, name, value]` or `[[name, value], …]`: what follows a secret's name is the secret. */
function redactList(list: readonly unknown[], depth: number): readonly unknown[] {
  return list.map((item, index) => {
    const before = index === 0 ? undefined : list[index - 1]
    const follows = typeof before === 'string' && before.length < 64 && isSecretName(before)
    // A list of names alone (the headers that were dropped) is no secret.
    return follows && !HEADER_NAMES.has(String(item).toLowerCase()) ? mask(item) : redact(item, depth + 1)
  })
}

/** Numbers are kept: a count of tokens is no token. */
function mask(value: unknown): unknown {
  return value === null || typeof value === 'boolean' || typeof value === 'number' ? value : REDACTED
}

function isBytes(list: readonly unknown[]): boolean {
  return list.length >= 8 && list.every((item) => Number.isInteger(item) && Number(item) >= 0 && Number(item) <= 255)
}

const HEADER_NAMES: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'x-api-key',
])

const PRIVATE_JWK: ReadonlySet<string> = new Set(['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'])

const SECRET_NAME =
  /authorization|cookie|apikey|accesskey|passw(or)?d|^pwd|pgpass|passphrase|secret|credential|privatekey|signingkey|connectionstring|(token|assertion|jwt|bearer|otp)s?$|^(basic|keys|codeverifier|dsn)$/

function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name.toLowerCase().replace(/[^a-z]/g, ''))
}

/**
 * How secrets look within text, and what stays of each. An agent chooses some of what is logged: no pattern may take
 * longer than its text times a constant.
 */
const IN_TEXT: readonly (readonly [RegExp, string])[] = [
  // The password of a URL may itself hold `@`, `/` or `?`; a port is left alone.
  [/\b([a-z][a-z0-9+.-]{0,20}:\/\/)[^\s"'<>@/:]{0,256}:(?!\d{1,5}(?:[/?#]|$))[^\s"'<>]{0,1024}@/gi, `$1${REDACTED}@`],
  [/\b([a-z][a-z0-9+.-]{0,20}:\/\/)[^\s"'<>@/]{1,1024}@/gi, `$1${REDACTED}@`],
  [/\b(bearer)([\s,:=]+)[\w.~+/=%-]{4,}/gi, `$1$2${REDACTED}`],
  // Words of prose follow these too: only what has a capital, a digit or a sign in it is taken for a credential.
  [
    /\b([Bb]asic|[Ss]plunk|[Tt]oken|[Nn]egotiate|[Dd]igest)([\s,:=]+)(?=[\w.~+/=%-]*[A-Z0-9+/=])[\w.~+/=%-]{8,}/g,
    `$1$2${REDACTED}`,
  ],
  [/(?<![\w-])eyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)*/g, REDACTED],
  [/\bx(?:ox[a-z]|app)-[\w-]{8,}/gi, REDACTED],
  [/\b(?:gh[a-z]_|github_pat_|glpat-|sk-|sk_live_|rk_live_)\w[\w-]{8,}/g, REDACTED],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g, REDACTED],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, REDACTED],
  // `authorization: …` takes the rest of the line, for schemes nobody thought of; so do cookies.
  [
    /((?:proxy-?)?authorization|(?:set-?)?cookie)(\\*["']?\s*[:=]\s*)(?:\\*"[^"\\]*|\\*'[^'\\]*|[^\r\n"'}]+)/gi,
    `$1$2${REDACTED}`,
  ],
  [
    /((?:api|access|private|secret)[-_]?key(?:[-_]?id)?|passw(?:or)?d|pgpass|pwd|passphrase|secret|credential|token|assertion|code_verifier|x-amz-signature)(\\*["']?\s*[:=]\s*)(?:\\*"[^"\\]*|\\*'[^'\\]*|[^\s"'&,;)}\]]+)/gi,
    `$1$2${REDACTED}`,
  ],
]

/** Takes out of a text whatever looks like a credential. */
export function redactText(text: string): string {
  let clean = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text
  for (const [pattern, kept] of IN_TEXT) clean = clean.replace(pattern, kept)
  return clean
}

/**
 * Whether a line of JSON holds anything that `redact` could take out. Wider than what that looks for, and much faster:
 * most lines of a gateway hold nothing of the kind.
 */
export function mayHoldSecret(line: string): boolean {
  return line.length > MAX_TEXT || SUSPICIOUS.test(line)
}

const SUSPICIOUS = new RegExp(
  [
    // Parts of every name in SECRET_NAME and IN_TEXT that no separator can split.
    'author|cookie|key|pass|pwd|secret|credential|private|signing|connection|token|assertion|jwt|bearer|otp|verifier|dsn',
    'basic|splunk|negotiate|digest|aws4|x-amz|kty|://|eyJ|xox|xapp|gh[a-z]_|github|glpat|sk-|_live_|AKIA|ASIA|BEGIN',
    // Bytes, as lists, as objects and as Node's buffers write themselves.
    '(?:\\d{1,3},){7}|"0":|Buffer',
  ].join('|'),
  'i',
)
