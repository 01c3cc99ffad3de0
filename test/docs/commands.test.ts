import { describe, expect, it } from 'vitest'
import { countersign } from '../e2e/replica.ts'
import { pages, readPage } from './pages.ts'

/** Every command by its words, as the program's own help lists them. */
async function listCommands(...path: readonly string[]): Promise<readonly string[]> {
  const { out } = await countersign(...path, '--help')
  const [, list = ''] = out.split('Commands:\n')
  const words = [...(list.split('\n\n', 1)[0] ?? '').matchAll(/^ {2}(\w[\w-]*)( …)? /gm)]
  const found: string[] = []
  for (const [, word = '', more] of words) {
    if (more === undefined) found.push([...path, word].join(' '))
    else found.push(...(await listCommands(...path, word)))
  }
  return found
}

/** The command lines in the blocks of a page. */
function commandLines(page: string): readonly string[] {
  const lines = page.split('\n').map((line) => line.replace(/npm run -s countersign -- /, 'countersign '))
  return lines.flatMap(
    (line) => /^(?: {4,}|)(?:[A-Z_]+=\S+ )*countersign ((?:[a-z]+ ?)+)/.exec(line)?.[1]?.trim() ?? [],
  )
}

describe('the pages', () => {
  it('name commands that there are', async () => {
    const known = await listCommands()
    expect(known).toContain('audit verify')
    for (const name of pages()) {
      for (const line of commandLines(readPage(name))) {
        const isKnown = known.some((command) => line === command || line.startsWith(`${command} `))
        expect(isKnown, `${name}: countersign ${line}`).toBe(true)
      }
    }
  }, 60_000)
})
