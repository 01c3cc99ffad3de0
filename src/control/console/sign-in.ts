import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { FrontDesk } from './desk.ts'
import type { Guard } from './guard.ts'
import { type Html, html, shown } from './html.ts'
import type { Jar } from './jar.ts'
import { type Answer, ownPath, page, redirect } from './respond.ts'

const querySchema = z.object({
  return: z.string().optional(),
  issuer: z.string().max(200).optional(),
  /** Whoever is signed in at the identity provider has to sign in there again. */
  fresh: z.literal('1').optional(),
})

/** What counts as again; it leaves the way back most of the time for which a sign-in is fresh. */
const FRESH_S = 60

/** Signing in and out. Everything else is for those who are signed in. */
export function createSignInPages({ desk, jar, guard }: { desk: FrontDesk; jar: Jar; guard: Guard }) {
  return {
    /** Straight to the identity provider where there is only one; else a choice. */
    async choose(request: FastifyRequest, reply: FastifyReply): Promise<Answer> {
      const { return: given, issuer, fresh } = querySchema.parse(request.query)
      const returnTo = ownPath(given)
      const [only] = desk.issuers
      const chosen = issuer ?? (desk.issuers.length === 1 ? only?.name : undefined)
      if (chosen === undefined) return page('Sign in', choice(desk.issuers, { returnTo, fresh }))
      const begun = await desk.begin({ issuerName: chosen, returnTo, maxAgeS: fresh ? FRESH_S : null })
      if (!begun) return page('Sign in', choice(desk.issuers, { returnTo, fresh }), 404)
      jar.keepPending(reply, begun.sealed)
      return redirect(begun.url.href)
    },

    async complete(request: FastifyRequest, reply: FastifyReply): Promise<Answer> {
      const sealed = jar.pending(request)
      const query = new URL(request.url, 'http://localhost').searchParams
      const done =
        sealed === null
          ? { fault: 'this browser did not begin to sign in, or too long ago' }
          : await desk.complete(sealed, query)
      // Not before: if the identity provider cannot be asked now, the same page works later.
      jar.dropPending(reply)
      if ('fault' in done) return page('Not signed in', notSignedIn(done.fault), 403)
      jar.keepSession(reply, done.secret, Math.floor(desk.lifetimeMs / 1000))
      return redirect(done.returnTo)
    },

    async leave(request: FastifyRequest, reply: FastifyReply): Promise<Answer> {
      const secret = jar.session(request)
      // Without asking who it is: whoever wants to leave may, even while the identity provider is down.
      if (secret !== null && !guard.isOwnForm(request)) return page('Not done', forged(), 403)
      const end = secret === null ? null : await desk.leave(secret)
      jar.dropSession(reply)
      return page('Signed out', signedOut(end))
    },
  }
}

function choice(
  issuers: FrontDesk['issuers'],
  { returnTo, fresh }: { returnTo: string; fresh: '1' | undefined },
): Html {
  return html`<h1>Sign in</h1>
<p>Countersign asks people before agents do what is sensitive.</p>
<ul class="choices">${issuers.map(
    ({
      name,
      issuer,
    }) => html`<li><a class="button" href="/sign-in?${query({ issuer: name, return: returnTo, ...(fresh && { fresh }) })}">Sign in with ${shown(name)}</a>
<small>${shown(issuer)}</small></li>`,
  )}</ul>`
}

function query(members: Record<string, string>): string {
  return new URLSearchParams(members).toString()
}

function notSignedIn(fault: string): Html {
  return html`<h1>You are not signed in</h1>
<p>${sentence(shown(fault))}</p>
<p><a class="button" href="/sign-in">Try again</a></p>`
}

function sentence(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1).replace(/\.$/, '')}.`
}

function signedOut(end: URL | null): Html {
  return html`<h1>You are signed out</h1>
<p>Of this console. ${end && html`You may still be signed in at your identity provider: <a href="${end.href}">sign out there too</a>.`}</p>
<p><a class="button" href="/sign-in">Sign in again</a></p>`
}

export function forged(): Html {
  return html`<h1>Nothing was done</h1>
<p>What was sent did not come from a page of this console, or from one that is too old. Open the page again, and try once more.</p>
<p><a class="button" href="/">To the inbox</a></p>`
}
