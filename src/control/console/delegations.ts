import { z } from 'zod'
import type { Delegation, DelegationDesk, Known } from '../../domain/delegation.ts'
import { formatParty, isSameParty, type Party, type Person, parseParty } from '../../domain/principal.ts'
import { DELEGATION_FAULTS } from '../problem.ts'
import type { Caller } from './guard.ts'
import { type Html, html, shown } from './html.ts'
import { type Answer, redirect, type Visit } from './respond.ts'
import { moment } from './words.ts'

const DAY_MS = 86_400_000

const makeForm = z.object({
  csrf: z.string(),
  delegate: z.string().max(2000).default(''),
  // As a date field sends it.
  from: z.union([z.literal(''), z.iso.date()]).default(''),
  until: z.iso.date(),
})
const endForm = z.object({ csrf: z.string(), id: z.string().max(20) })

const BAD_FORM = 'Not done. Choose somebody, and until when they stand in for you.'

/** Who stands in for whom. `refuse` shows the person’s page again, with a sentence that says why. */
export function createDelegationPages({
  delegations,
  refuse,
}: {
  readonly delegations: DelegationDesk
  refuse(caller: Caller, fault: string): Promise<Answer>
}) {
  return {
    /** For the page of a person. */
    async section({ person, csrf }: Caller): Promise<Html> {
      const [all, known] = await Promise.all([
        delegations.list(person.roles.includes('admin') ? null : person),
        person.roles.includes('reviewer') ? delegations.known(person) : [],
      ])
      return sectionOf({ all, known, person, csrf })
    },

    pages: {
      'POST /me/delegations': async ({ request, caller }: Visit): Promise<Answer> => {
        const form = makeForm.safeParse(request.body)
        const delegate = form.success ? parseParty(form.data.delegate) : null
        if (!form.success || !delegate) return refuse(caller, BAD_FORM)
        const made = await delegations.make({
          by: caller.person,
          delegate,
          from: form.data.from === '' ? 0 : Date.parse(form.data.from),
          // The last day is one of them.
          until: Date.parse(form.data.until) + DAY_MS,
          via: 'console',
        })
        return 'fault' in made ? refuse(caller, DELEGATION_FAULTS[made.fault][1]) : redirect('/me')
      },

      'POST /me/delegations/end': async ({ request, caller }: Visit): Promise<Answer> => {
        const form = endForm.safeParse(request.body)
        const isDone = form.success && (await delegations.end({ id: form.data.id, by: caller.person, via: 'console' }))
        return isDone ? redirect('/me') : refuse(caller, DELEGATION_FAULTS.gone[1])
      },
    },
  }
}

interface SectionView {
  readonly all: readonly Delegation[]
  readonly known: readonly Known[]
  readonly person: Person
  readonly csrf: string
}

function sectionOf({ all, known, person, csrf }: SectionView): Html {
  const given = all.filter((one) => isSameParty(one.person, person))
  const taken = all.filter((one) => isSameParty(one.delegate, person))
  const others = all.filter((one) => !given.includes(one) && !taken.includes(one))
  return html`<section><h2>While you are away <small>somebody stands in for you where a rule names you, and in none of your groups</small></h2>
${given.map((one) => block(one, csrf))}
${given.length === 0 && (known.length === 0 ? html`<p class="empty">Nobody stands in for you, and nobody else has voted yet.</p>` : form(known, csrf))}</section>
${taken.length > 0 && html`<section><h2>You stand in for</h2>${taken.map((one) => block(one, null))}</section>`}
${others.length > 0 && html`<section><h2>Others who are stood in for</h2>${others.map((one) => block(one, csrf))}</section>`}`
}

/** With the button that ends it, for those who may. */
function block({ id, person, delegate, from, until }: Delegation, csrf: string | null): Html {
  return html`<div class="block"><p>${named(delegate)} stands in for ${named(person)}, from ${moment(from)} until ${moment(until)}</p>
${
  csrf !== null &&
  html`<form method="post" action="/me/delegations/end" class="decide">
<input type="hidden" name="csrf" value="${csrf}">
<input type="hidden" name="id" value="${id}">
<div class="buttons"><button class="deny">End it</button></div>
</form>`
}</div>`
}

function named(who: Party & { readonly name: string | null }): Html {
  return html`<b title="${shown(formatParty(who))}">${shown(who.name ?? who.subject)}</b>`
}

function form(known: readonly Known[], csrf: string): Html {
  return html`<form method="post" action="/me/delegations" class="decide">
<input type="hidden" name="csrf" value="${csrf}">
<label>Who stands in for you <select name="delegate" required><option value=""></option>${known.map(
    (one) =>
      html`<option value="${formatParty(one)}">${shown(one.name ?? one.subject)} (${shown(formatParty(one))})</option>`,
  )}</select></label>
<label>From, today if left out <input name="from" type="date"></label>
<label>Until, with that day (UTC) <input name="until" type="date" required></label>
<div class="buttons"><button class="quiet">Let them stand in for you</button></div>
</form>`
}
