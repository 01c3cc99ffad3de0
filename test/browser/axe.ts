import axe from 'axe-core'
import type { Page } from 'playwright-core'
import { expect } from 'vitest'

/** What axe finds of weight on a page, all of it opened: the rule, and where. The page's policy has to let it in. */
export async function faultsOf(page: Page): Promise<readonly string[]> {
  await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
  await page.evaluate(axe.source)
  const result = (await page.evaluate("axe.run({ resultTypes: ['violations'] })")) as axe.AxeResults // What axe.run resolves to.
  expect(result.passes.length).toBeGreaterThan(10)
  return result.violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`))
}

/** By how many pixels a page is wider than its window. */
export async function overflowOf(page: Page): Promise<number> {
  return Number(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'))
}
