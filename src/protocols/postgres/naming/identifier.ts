/** A server looks at so many bytes of a name (NAMEDATALEN): of longer ones two may be one. */
export const MAX_NAME_BYTES = 63

const PLAIN = /^[a-z_][a-z0-9_$]*$/
// What a pattern would take apart, a reader not see, or a terminal obey.
const UNSAFE = /[/\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u

/**
 * An identifier as it is written in SQL, so that no two of them, and no two lists of them, look alike. A slash is written
 * as `U&"\002F"` (PostgreSQL, 4.1.2.3): policy's patterns split there.
 */
export function quote(name: string): string {
  if (PLAIN.test(name)) return name
  if (!UNSAFE.test(name)) return `"${name.replaceAll('"', '""')}"`
  const escaped = [...name].map((char) => {
    if (char === '\\') return '\\\\'
    if (char === '"') return '""'
    if (!UNSAFE.test(char)) return char
    const hex = (char.codePointAt(0) ?? 0).toString(16).toUpperCase()
    return hex.length <= 4 ? `\\${hex.padStart(4, '0')}` : `\\+${hex.padStart(6, '0')}`
  })
  return `U&"${escaped.join('')}"`
}

export function qualify(schema: string, name: string): string {
  return `${quote(schema)}.${quote(name)}`
}

/** A session's own schema of temporary relations goes by one name, whatever its number. */
export function schemaName(schema: string): string {
  return /^pg_temp(_\d+)?$/.test(schema) ? 'pg_temp' : schema
}
