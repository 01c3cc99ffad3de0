import { PEOPLE } from './company.ts'

/*
 * The pages of the demo's identity provider. Nothing in them comes from elsewhere, so that they work without a network,
 * and everything that is put into them is ours: a code, a client's name, a form made by the provider.
 */

export function codePage(form: string, { isRetry }: { isRetry: boolean }): string {
  const hint = isRetry
    ? 'That was not a code that is waited for. Try again.'
    : 'Enter the code that your terminal shows.'
  return page('Sign in', `<p>${hint}</p>${form}<button form="op.deviceInputForm">Continue</button>`)
}

export function confirmPage(form: string, shown: { client: string; code: string }): string {
  return page(
    'Is this yours?',
    `<p>${shown.client} asks to sign you in. Go on only if you started that yourself, and your terminal shows this code:</p>
<p class="code">${shown.code}</p>${form}
<button form="op.deviceConfirmForm" autofocus>It is mine</button>
<button form="op.deviceConfirmForm" name="abort" value="yes" class="quiet">No, stop</button>`,
  )
}

export function signInPage(action: string): string {
  const buttons = Object.entries(PEOPLE).map(
    ([id, { name }]) => `<form method="post" action="${action}?as=${id}"><button>${name}</button></form>`,
  )
  return page('Who are you?', `<p>No passwords: this company exists on this machine only.</p>${buttons.join('\n')}`)
}

export function donePage(): string {
  return page('Done', '<p>You are signed in. Close this page, and look at your terminal again.</p>')
}

function page(title: string, content: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<style>
body{font:18px/1.4 system-ui;color-scheme:light dark;max-width:28rem;margin:15vh auto;padding:0 1rem}
button,input[type=text]{font:inherit;padding:.7rem 1rem;margin:.3rem 0;width:100%;box-sizing:border-box}
.code{font:600 2rem/1 ui-monospace,monospace;text-align:center}
.quiet{background:none;border:0;text-decoration:underline}
</style></head>
<body><h1>${title}</h1>${content}</body></html>
`
}
