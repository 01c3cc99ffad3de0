import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from './guard.ts'
import { type Html, html } from './html.ts'

/** Somebody who is signed in asks for a page that their roles open. */
export interface Visit {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly caller: Caller
}

/** What a page answers with. */
export type Answer =
  | { readonly page: Html; readonly status: number; readonly title: string }
  /** Always 303: whatever was sent, what follows is a GET (RFC 9110, section 15.4.4). */
  | { readonly redirect: string }

export function page(title: string, body: Html, status = 200): Answer {
  return { title, page: body, status }
}

export function redirect(path: string): Answer {
  return { redirect: path }
}

export const NOT_THERE = page(
  'Not found',
  html`<h1>There is nothing here</h1><p>Or nothing that is shown to you.</p><p><a class="button" href="/">To the inbox</a></p>`,
  404,
)

/** Everything comes from this listener; nothing runs, frames or posts elsewhere (CSP level 3). */
const PAGE_HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types countersign",
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=(), payment=(), usb=()',
  'referrer-policy': 'same-origin',
}

export function sendPage(reply: FastifyReply, status: number, whole: Html): FastifyReply {
  return reply.code(status).headers(PAGE_HEADERS).type('text/html; charset=utf-8').send(whole.toString())
}

/**
 * A path of this console, from what a browser sent; the inbox for anything else. No scheme, no host, no backslash, none
 * of what browsers drop from a URL before they read it.
 */
export function ownPath(text: string | undefined): string {
  return text !== undefined && /^\/(?![/\\])[\x21-\x5b\x5d-\x7e]*$/.test(text) && text.length <= 500 ? text : '/'
}
