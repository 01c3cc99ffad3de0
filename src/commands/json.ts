/**
 * JSON that a terminal may be shown: what JSON leaves as it is, but a terminal would obey or hide (C1 controls, bidi and
 * other format characters, line separators), is escaped. The value it is read back as is the same.
 */
export function writeJson(value: unknown): string {
  return JSON.stringify(value, null, 2).replace(/[\p{Cf}\p{Zl}\p{Zp}\x7f-\x9f]/gu, (character) =>
    [...Array(character.length).keys()].map((at) => `\\u${hex(character.charCodeAt(at))}`).join(''),
  )
}

function hex(unit: number): string {
  return unit.toString(16).padStart(4, '0')
}
