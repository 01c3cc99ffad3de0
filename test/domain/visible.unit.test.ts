import { describe, expect, it } from 'vitest'
import { cut, makeVisible } from '../../src/domain/visible.ts'

describe('makeVisible', () => {
  it.each([
    ['plain ASCII, Grüße, 漢字, 😀', 'plain ASCII, Grüße, 漢字, 😀'],
    ['a\u202Eb', 'a⟨U+202E⟩b'],
    ['a\u2066b\u2069', 'a⟨U+2066⟩b⟨U+2069⟩'],
    ['a\u200Bb', 'a⟨U+200B⟩b'],
    ['a\u0000b', 'a⟨U+0000⟩b'],
    ['a\u00A0b', 'a⟨U+00A0⟩b'],
    ['a\u{E0041}b', 'a⟨U+E0041⟩b'],
    ['a\uD800b', 'a⟨U+D800⟩b'],
    ['a\tb\nc', 'a\tb⟨U+000A⟩c'],
    ['a\r\nb', 'a⟨U+000D⟩⟨U+000A⟩b'],
  ])('%j', (text, expected) => {
    expect(makeVisible(text)).toBe(expected)
  })

  it('keeps line feeds where lines are meant, but no other line ends', () => {
    expect(makeVisible('a\nb\r\u2028c', { isMultiline: true })).toBe('a\nb⟨U+000D⟩⟨U+2028⟩c')
  })

  it('writes out marks that are piled up, and leaves those of scripts', () => {
    expect(makeVisible('é̂')).toBe('é̂')
    expect(makeVisible(`e${'\u0301'.repeat(6)}`)).toBe(`e${'\u0301'.repeat(4)}⟨U+0301⟩⟨U+0301⟩`)
  })
})

describe('cut', () => {
  it('never leaves half of a surrogate pair', () => {
    expect(cut('ab😀', 3)).toBe('ab')
    expect(cut('ab😀', 4)).toBe('ab😀')
  })
})
