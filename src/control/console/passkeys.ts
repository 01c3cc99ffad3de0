import { z } from 'zod'
import type { Approval } from '../../domain/approval.ts'
import { findAssuranceNeed } from '../../domain/entitlement.ts'
import { isSameParty, type Person } from '../../domain/principal.ts'
import type { Passkey } from '../../identity/passkey-table.ts'
import type { PasskeyAsk, PasskeyFault, Passkeys } from '../../identity/passkeys.ts'
import { removeForm } from './forms.ts'
import type { Caller } from './guard.ts'
import { type Html, html, shown } from './html.ts'
import { type Answer, redirect, type Visit } from './respond.ts'
import { moment } from './words.ts'

/** What a form brings along that a passkey was used for; empty where none was. */
export const passkeyFields = {
  sealed: z.string().max(4000).default(''),
  response: z.string().max(12_000).default(''),
}
const addForm = z.object({
  csrf: z.string(),
  name: z
    .string()
    .transform((text) => text.trim())
    .pipe(z.string().min(1).max(100)),
  ...passkeyFields,
})

/** How somebody can approve by a passkey. `none`: they have none yet; `nowhere`: this console can have none. */
export type PasskeyState = PasskeyAsk | 'none' | 'nowhere'

/** A passkey in place of a button. */
export function createPasskeyVotes(passkeys: Passkeys | null) {
  return {
    /** Null where a passkey changes nothing. */
    async askFor(approval: Approval, caller: Caller, nowMs: number): Promise<PasskeyState | null> {
      const at = { openedAt: approval.createdAt, at: nowMs }
      if (approval.state !== 'pending') return null
      if (findAssuranceNeed(approval.requirements, caller.person, at)?.kind !== 'passkey') return null
      if (!passkeys) return 'nowhere'
      return (await passkeys.challenge(aboutOf(approval), caller)) ?? 'none'
    },

    /** Whoever approves, known by a passkey if one was used for it; a sentence if it does not hold. */
    async prove(
      approval: Pick<Approval, 'id' | 'digest' | 'cardHash'>,
      caller: Caller,
      { sealed, response }: { readonly sealed: string; readonly response: string },
    ): Promise<Person | string> {
      if (response === '') return caller.person
      const proved = await passkeys?.prove({ sealed, response, about: aboutOf(approval), who: caller })
      if (!proved) return WHY.unknown
      return 'fault' in proved ? WHY[proved.fault] : proved.person
    },
  }
}
export type PasskeyVotes = ReturnType<typeof createPasskeyVotes>

/** Adding and removing one's own. `refuse` shows the page of the person again, with a sentence that says why. */
export function createPasskeyPages({
  passkeys,
  refuse,
}: {
  readonly passkeys: Passkeys | null
  refuse(caller: Caller, fault: string): Promise<Answer>
}) {
  return {
    /** For the page of a person. */
    async section({ person, id, csrf }: Caller): Promise<Html> {
      if (!passkeys) return NOWHERE
      const [known, asked] = await Promise.all([
        passkeys.list(person.roles.includes('admin') ? null : person),
        passkeys.offer({ person, id }),
      ])
      return sectionOf({ known, asked: 'fault' in asked ? null : asked, person, csrf })
    },

    pages: {
      'POST /me/passkeys': async ({ request, caller }: Visit): Promise<Answer> => {
        const form = addForm.safeParse(request.body)
        if (!form.success) return refuse(caller, 'Not done. Give the passkey a name of at most 100 characters.')
        const added = await passkeys?.add({ ...form.data, who: caller })
        if (!added) return refuse(caller, WHY.unknown)
        return 'fault' in added ? refuse(caller, WHY[added.fault]) : redirect('/me')
      },

      'POST /me/passkeys/remove': async ({ request, caller }: Visit): Promise<Answer> => {
        const { id } = removeForm.parse(request.body)
        const isDone = await passkeys?.remove({ id, by: caller.person, via: 'console' })
        return isDone ? redirect('/me') : refuse(caller, 'Not done. There is no such passkey, or it is not yours.')
      },
    },
  }
}

const HEADING = html`<h2>Your passkeys <small>for rules that ask for one</small></h2>`
const NOWHERE = html`<section>${HEADING}
<p class="empty">Browsers make none for this console: its address has a number for a host. It needs a name there, in <code>control.public_url</code>.</p></section>`

function aboutOf({ id, digest, cardHash }: Pick<Approval, 'id' | 'digest' | 'cardHash'>) {
  return { approval: id, digest, cardHash, decision: 'approve' } as const
}

const WHY: Readonly<Record<PasskeyFault, string>> = {
  sign_in_too_old: 'Not done. A passkey is added within five minutes of a sign-in. Sign in again.',
  expired: 'Not done. The page was too old, or another one’s. Look at it again, then use the passkey once more.',
  used: 'Not done. The passkey was used for this page already. Look at it again.',
  unknown: 'Not done. That is none of your passkeys.',
  not_verified: 'Not done. The passkey did not prove that it is you, for this very thing.',
  too_many: 'Not done. You have as many passkeys as one person may have.',
}

/** The fields and the button that ask the browser for a passkey; its script does the rest. */
export function passkeyButton(
  { options, sealed }: PasskeyAsk,
  { kind, label, action }: { readonly kind: 'create' | 'get'; readonly label: string; readonly action: string },
): Html {
  return html`<input type="hidden" name="sealed" value="${sealed}">
<input type="hidden" name="response" value="">
<button class="approve" formaction="${action}" data-passkey="${kind}" data-options="${JSON.stringify(options)}">${label}</button>
<noscript><small>A passkey needs a browser that runs the script of this page.</small></noscript>`
}

function sectionOf({
  known,
  asked,
  person,
  csrf,
}: {
  readonly known: readonly Passkey[]
  readonly asked: PasskeyAsk | null
  readonly person: Person
  readonly csrf: string
}): Html {
  const own = known.filter((one) => isSameParty(one.person, person))
  const others = known.filter((one) => !isSameParty(one.person, person))
  return html`<section>${HEADING}
${own.length === 0 ? html`<p class="empty">None.</p>` : own.map((one) => passkeyBlock(one, csrf, null))}
${
  asked
    ? html`<form method="post" action="/me/passkeys" class="decide">
<input type="hidden" name="csrf" value="${csrf}">
<label>Name, to tell it from others <input name="name" maxlength="100" required></label>
<div class="buttons">${passkeyButton(asked, { kind: 'create', label: 'Add a passkey', action: '/me/passkeys' })}</div>
</form>`
    : html`<p><a class="button" href="/sign-in?fresh=1&amp;return=%2Fme">Sign in again to add a passkey</a></p>`
}</section>
${others.length > 0 && html`<section><h2>Other people's passkeys</h2>${others.map((one) => passkeyBlock(one, csrf, one.person.subject))}</section>`}`
}

function passkeyBlock({ id, name, addedAt, usedAt }: Passkey, csrf: string, owner: string | null): Html {
  return html`<div class="block"><p><b>${shown(name)}</b>${owner !== null && html` of ${shown(owner)}`}, since ${moment(addedAt)}${usedAt !== null && html`, last used ${moment(usedAt)}`}</p>
<form method="post" action="/me/passkeys/remove" class="decide">
<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="id" value="${id}">
<div class="buttons"><button class="deny">Remove ${shown(name)}</button></div>
</form></div>`
}
