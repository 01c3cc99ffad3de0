import { MAX_NAME_BYTES } from '../naming/identifier.ts'

/** The settings a session begins with, as they go upstream. */
export interface Startup {
  /** Empty once it has turned out to be one that was minted. */
  readonly user: string
  readonly database: string
  readonly applicationName: string
  /** What is sent upstream besides user and database. `client_encoding` is always UTF8. */
  readonly settings: ReadonlyMap<string, string>
  /** Extensions of the protocol that were asked for (`_pq_.…`); none is known here. */
  readonly extensions: readonly string[]
}

/** Why a session does not begin, with its SQLSTATE. */
export interface StartupFault {
  readonly code: string
  readonly message: string
  readonly hint?: string
}

/** Settings that pass, in lower case, with the names that go upstream. */
const PASSED: ReadonlyMap<string, string> = new Map(
  ['application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'extra_float_digits'].map((name) => [
    name.toLowerCase(),
    name,
  ]),
)
const MAX_VALUE_CHARACTERS = 1024

/**
 * Reads the parameters of a startup message: what is on the list passes, everything else is refused by name, so that no
 * setting changes what a statement means before anybody judged one.
 */
export function readStartup(parameters: ReadonlyMap<string, string>): Startup | StartupFault {
  const settings = new Map<string, string>()
  const extensions: string[] = []
  for (const [name, value] of parameters) {
    const fault = readParameter(name, value, { settings, extensions })
    if (fault) return fault
  }
  settings.set('client_encoding', 'UTF8')
  const user = parameters.get('user') ?? ''
  const database = parameters.get('database') || user
  if (user === '') return { code: '28000', message: 'no user was given in the startup message' }
  for (const name of [user, database]) {
    if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
      return { code: '22023', message: `a user or database name is longer than ${MAX_NAME_BYTES} bytes` }
    }
  }
  return { user, database, applicationName: settings.get('application_name') ?? '', settings, extensions }
}

type Read = { readonly settings: Map<string, string>; readonly extensions: string[] }

function readParameter(name: string, value: string, { settings, extensions }: Read): StartupFault | null {
  if (name === 'user' || name === 'database') return null
  if (name.startsWith('_pq_.')) {
    extensions.push(name)
    return null
  }
  if (name === 'replication') return readReplication(value)
  if (name !== 'options') return readSetting(name, value, settings)
  const options = parseOptions(value)
  if (options === null) {
    return { code: '22023', message: 'options of the startup message can be -c name=value or --name=value only' }
  }
  for (const [option, set] of options) {
    const fault = readSetting(option, set, settings)
    if (fault) return fault
  }
  return null
}

/** What says that no replication is wanted passes: some drivers say so. */
function readReplication(value: string): StartupFault | null {
  if (/^(?:false|off|no|0)$/i.test(value)) return null
  return { code: '0A000', message: 'replication connections are not supported by this gateway' }
}

function readSetting(name: string, value: string, settings: Map<string, string>): StartupFault | null {
  const known = PASSED.get(name.toLowerCase())
  if (known === undefined) {
    return {
      code: '0A000',
      message: `the startup parameter ${JSON.stringify(name.slice(0, MAX_NAME_BYTES))} is not passed on by this gateway`,
      hint: `These are: ${[...PASSED.values()].join(', ')}. SET others once connected, where policy allows it.`,
    }
  }
  if (value.length > MAX_VALUE_CHARACTERS)
    return { code: '22023', message: `the startup parameter ${known} is too long` }
  if (known === 'client_encoding' && !isUtf8(value)) {
    return { code: '0A000', message: 'client_encoding has to be UTF8 with this gateway' }
  }
  settings.set(known, value)
  return null
}

function isUtf8(value: string): boolean {
  return /^'?(?:utf[-_ ]?8|unicode)'?$/i.test(value)
}

/**
 * The settings in `options`, as a server's command line has them: words apart by spaces, a backslash before what stands
 * for itself. Null for anything but settings.
 */
function parseOptions(text: string): [string, string][] | null {
  const words = splitWords(text)
  const found: [string, string][] = []
  for (let index = 0; index < words.length; index++) {
    const word = words[index] ?? ''
    const setting =
      word === '-c' ? words[++index] : word.startsWith('-c') || word.startsWith('--') ? word.slice(2) : null
    const equals = setting?.indexOf('=') ?? -1
    if (setting == null || equals < 1) return null
    found.push([setting.slice(0, equals).replaceAll('-', '_'), setting.slice(equals + 1)])
  }
  return found
}

function splitWords(text: string): string[] {
  const words: string[] = []
  let word: string | null = null
  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? ''
    if (/[ \t\n\v\f\r]/.test(character)) {
      if (word !== null) words.push(word)
      word = null
    } else {
      if (character === '\\') at++
      word = (word ?? '') + (character === '\\' ? (text[at] ?? '') : character)
    }
  }
  if (word !== null) words.push(word)
  return words
}
