/** A page as somebody with a browser sees it: where it is, and what is written there. */
export interface Page {
  readonly url: string
  readonly text: string
}

/** As much of a browser as a sign-in needs: it keeps cookies, follows redirects and sends forms. */
export interface Browser {
  open(url: string): Promise<Page>
  /** Sends the first form of a page that contains `mark`, its hidden fields with it. */
  submit(page: Page, mark?: string): Promise<Page>
}

const MAX_REDIRECTS = 10
const TIMEOUT_MS = 10_000

export function startBrowser(signal: AbortSignal): Browser {
  const cookies = new Map<string, string>()

  async function go(url: string, form: URLSearchParams | null): Promise<Page> {
    let next: { url: string; form: URLSearchParams | null } = { url, form }
    for (let hop = 0; hop < MAX_REDIRECTS; hop++) {
      const response = await fetch(next.url, {
        method: next.form ? 'POST' : 'GET',
        body: next.form,
        redirect: 'manual',
        headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
        signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
      })
      for (const line of response.headers.getSetCookie()) keep(line)
      const text = await response.text()
      const location = response.headers.get('location')
      if (location === null) return { url: next.url, text }
      next = { url: new URL(location, next.url).href, form: null }
    }
    throw new Error(`${url} redirects without end`)
  }

  function keep(line: string): void {
    const [name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line)?.slice(1) ?? []
    if (value === '') cookies.delete(name)
    else cookies.set(name, value)
  }

  return {
    open: (url) => go(url, null),
    submit(page, mark = '') {
      const form = page.text.match(/<form\b.*?<\/form>/gs)?.find((text) => text.includes(mark))
      const action = form && /\baction="([^"]*)"/.exec(form)?.[1]
      if (!action) throw new Error(`there is nothing to fill in at ${page.url}: ${page.text.slice(0, 200)}`)
      return go(new URL(action, page.url).href, new URLSearchParams(readFields(form)))
    },
  }
}

function readFields(content: string): [string, string][] {
  return [...content.matchAll(/<input\b[^>]*>/gs)].flatMap(([input]) => {
    const name = /\bname="([^"]*)"/.exec(input)?.[1]
    return name === undefined ? [] : [[name, /\bvalue="([^"]*)"/.exec(input)?.[1] ?? '']]
  })
}
