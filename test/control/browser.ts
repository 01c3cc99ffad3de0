/** A browser without a screen: it keeps cookies, follows redirects, and says where its forms come from. */
export interface Browser {
  get(url: string, headers?: Record<string, string>): Promise<Seen>
  /** Posts a form, as from a page of `from`; of the form's own origin if left out. */
  post(
    url: string,
    form: Record<string, string>,
    how?: { readonly from?: string | null; readonly headers?: Record<string, string> },
  ): Promise<Seen>
  cookies(url: string): ReadonlyMap<string, string>
  /** Puts a cookie there, as somebody might who stole it. */
  setCookie(url: string, name: string, value: string): void
  /** Every Set-Cookie it was sent, in order. */
  readonly cookieLines: readonly string[]
}

export interface Seen {
  readonly status: number
  /** Where it has come to, after every redirect. */
  readonly url: URL
  /** Where it was sent on its way there. */
  readonly redirects: readonly URL[]
  readonly headers: Headers
  readonly text: string
}

const MOST_REDIRECTS = 10

/** @param options `reach`: where an origin is really found, as name resolution or a proxy would know */
export function openBrowser({ reach = new Map<string, string>() } = {}): Browser {
  // By origin: nothing here has cookies for a part of a host's paths.
  const jars = new Map<string, Map<string, string>>()
  const cookieLines: string[] = []
  const jarOf = (url: string | URL) => {
    const { origin } = new URL(url)
    const jar = jars.get(origin) ?? new Map<string, string>()
    jars.set(origin, jar)
    return jar
  }

  async function go(start: string, init: RequestInit): Promise<Seen> {
    let url = new URL(start)
    let how = init
    const redirects: URL[] = []
    for (let step = 0; step < MOST_REDIRECTS; step++) {
      const jar = jarOf(url)
      const headers = new Headers(how.headers)
      headers.set('cookie', [...jar].map(([name, value]) => `${name}=${value}`).join('; '))
      const at = new URL(url.pathname + url.search, reach.get(url.origin) ?? url.origin)
      const response = await fetch(at, { ...how, headers, redirect: 'manual' })
      for (const line of response.headers.getSetCookie()) {
        cookieLines.push(line)
        keep(jar, line)
      }
      const text = await response.text()
      const location = response.headers.get('location')
      if (response.status < 300 || response.status > 399 || location === null) {
        return { status: response.status, url, redirects, headers: response.headers, text }
      }
      url = new URL(location, url)
      redirects.push(url)
      how = {}
    }
    throw new Error(`${start} redirects for ever`)
  }

  return {
    get: (url, headers = {}) => go(url, { headers }),
    post(url, form, { from = new URL(url).origin, headers = {} } = {}) {
      const sent = { ...(from !== null && { origin: from }), ...headers }
      return go(url, { method: 'POST', headers: sent, body: new URLSearchParams(form) })
    },
    cookies: (url) => jarOf(url),
    setCookie: (url, name, value) => void jarOf(url).set(name, value),
    cookieLines,
  }
}

function keep(jar: Map<string, string>, line: string): void {
  const [pair = '', ...attributes] = line.split(';')
  const equals = pair.indexOf('=')
  const isOver = attributes.some((one) => /^\s*(max-age=0|expires=thu, 01 jan 1970)/i.test(one))
  if (isOver) jar.delete(pair.slice(0, equals))
  else jar.set(pair.slice(0, equals), pair.slice(equals + 1))
}

/** The value of a form's hidden field on a page. */
export function fieldOf(text: string, name: string): string {
  const found = new RegExp(`name="${name}" value="([^"]*)"`).exec(text)
  if (found?.[1] === undefined) throw new Error(`the page has no field ${name}`)
  return found[1]
}
