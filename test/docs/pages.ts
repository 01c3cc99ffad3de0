import { readdirSync, readFileSync } from 'node:fs'

export const ROOT = new URL('../../', import.meta.url)

/** A page by its path in the repository, `docs/audit.md`. */
export function readPage(path: string): string {
  return readFileSync(new URL(path, ROOT), 'utf8')
}

/** Every Markdown page for users: the README, and all below docs/. */
export function pages(): readonly string[] {
  const below = readdirSync(new URL('docs/', ROOT), { recursive: true, encoding: 'utf8' })
  return ['README.md', ...below.filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`)]
}

/** The fenced blocks of a language, in order. */
export function blocks(page: string, language: string): readonly string[] {
  return [...page.matchAll(/^```(\S+)\n(.*?)^```$/gms)].flatMap(([, name, text = '']) =>
    name === language ? [text] : [],
  )
}

/** The cells of the first table under a heading, its own heading left out. */
export function tableUnder(page: string, heading: string): readonly (readonly string[])[] {
  const start = page.search(new RegExp(`^#+ ${heading.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`, 'm'))
  if (start === -1) throw new Error(`there is no heading ${heading}`)
  const lines = page.slice(start).split('\n')
  const first = lines.findIndex((line) => line.startsWith('|'))
  const rows = lines.slice(first).slice(
    0,
    lines.slice(first).findIndex((line) => !line.startsWith('|')),
  )
  return rows.slice(2).map((row) =>
    row
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  )
}

/** What stands in backticks in a text. */
export function quoted(text: string): readonly string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(([, inside = '']) => inside)
}
