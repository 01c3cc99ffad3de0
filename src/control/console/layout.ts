import type { Person } from '../../domain/principal.ts'
import type { NoticeWire } from '../wire.ts'
import { PAGES } from './access.ts'
import { mayOpen } from './guard.ts'
import { type Html, html, shown } from './html.ts'

/** What stands around every page. */
export interface Frame {
  readonly title: string
  readonly style: string
  readonly script: string
  /** Null where nobody is signed in. */
  readonly visitor: { readonly person: Person; readonly csrf: string } | null
  /** The path, to mark where one is. */
  readonly path: string
  readonly notices: readonly NoticeWire[]
}

const LINKS = [
  ['/', 'Inbox'],
  ['/history', 'History'],
  ['/grants', 'Grants'],
  ['/agents', 'Agents'],
  ['/policy', 'Policy'],
  ['/audit', 'Audit log'],
  ['/me', 'You'],
] as const

export function layout(frame: Frame, body: Html): Html {
  const { title, visitor, path } = frame
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${shown(title)} · Countersign</title>
<link rel="stylesheet" href="${frame.style}">
<script type="module" src="${frame.script}"></script>
</head>
<body>
<a class="skip" href="#main">Skip to the content</a>
<header>
<a class="brand" href="/">Countersign</a>
${visitor && navigation(path, visitor.person)}
${visitor && signedInAs(visitor)}
</header>
${frame.notices.map(({ message }) => html`<p class="notice" role="status">${message}</p>`)}
<main id="main" tabindex="-1">
${body}
</main>
</body>
</html>
`
}

/** Only what the person's roles open. */
function navigation(path: string, person: Person): Html {
  const links = LINKS.filter(([href]) => mayOpen(PAGES[`GET ${href}`], person))
  return html`<nav aria-label="Pages"><ul>${links.map(
    ([href, label]) => html`<li><a href="${href}"${path === href && html` aria-current="page"`}>${label}</a></li>`,
  )}</ul></nav>`
}

function signedInAs({ person, csrf }: NonNullable<Frame['visitor']>): Html {
  return html`<form class="who" method="post" action="/sign-out">
<input type="hidden" name="csrf" value="${csrf}">
<span title="${shown(person.issuer)}">${shown(person.name ?? person.subject)}</span>
<button class="quiet">Sign out</button>
</form>`
}
