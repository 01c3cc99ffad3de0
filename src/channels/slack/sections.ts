import type { Card, Claimed, Payload } from '../../domain/card.ts'
import type { CardDetail } from '../../domain/channel.ts'
import { fitInto } from '../../domain/visible.ts'
import { clean, createField, list, MAX_LISTED } from './foreign.ts'
import type { CardView } from './parts.ts'
import { bold, code, type Inline, lines, plain, preformatted, type richText } from './rich-text.ts'

const MAX_ACTIONS = 20
const MAX_ACTION = 600

type Elements = Parameters<typeof richText>

/** Who calls, as the token proved it. What had to be cut is noted in `missing`. */
export function showVerified({ verified }: Card, missing: string[]): Elements {
  const { agent, issuer, onBehalfOf, owner, groups } = verified
  const field = createField(missing, 'Part of who calls was cut.')
  const rows: Inline[][] = [
    [bold('Verified'), plain(' (proved by the token)')],
    [plain('Agent: '), field(agent)],
    [plain('Issuer: '), field(issuer)],
  ]
  if (onBehalfOf !== null) rows.push([plain('On behalf of: '), field(onBehalfOf)])
  rows.push([plain('Owner: '), owner === null ? plain('none stated') : field(owner)])
  if (groups.length > 0) rows.push([plain('Groups: '), ...list(groups, (name) => code(clean(name)))])
  return [lines(rows)]
}

/** What the call would do, as the gateway read it. What is not shown of it is noted in `missing`. */
export function showDerived(view: CardView, missing: string[], maxPayload: number): Elements {
  const { upstream, labels, actions, payload } = view.card.derived
  const field = createField(missing, 'Part of what the call would do was cut.')
  const marks = Object.entries(labels).map(([name, value]) => `${name}=${value}`)
  const top: Inline[][] = [
    [bold('Derived'), plain(' (read from the call by the gateway)')],
    [plain('Upstream: '), field(upstream)],
  ]
  if (marks.length > 0) top.push([plain('Labels: '), ...list(marks, field)])
  top.push([plain(actions.length === 1 ? 'Action:' : `${actions.length} actions:`)])

  return [
    lines(top),
    preformatted(listActions(actions, missing)),
    ...showPayload(payload, { detail: view.detail, maxPayload, missing }),
    lines(grounds(view)),
  ]
}

function listActions(actions: Card['derived']['actions'], missing: string[]): string {
  const rows = actions.slice(0, MAX_ACTIONS).map(({ verb, resource }) => {
    const row = fitInto(`${verb} ${resource}`, MAX_ACTION)
    if (!row.isCut) return row.text
    missing.push('Part of an action was cut.')
    return `${row.text}… (cut)`
  })
  if (rows.length < actions.length) {
    missing.push(`Only ${rows.length} of ${actions.length} actions are shown.`)
    rows.push(`… and ${actions.length - rows.length} more`)
  }
  return rows.join('\n')
}

function grounds({ approval, card }: CardView): Inline[][] {
  const { digest, rules, notes } = card.derived
  const rows: Inline[][] = notes.slice(0, MAX_LISTED).map((note) => [bold('Note: '), plain(clean(note))])
  for (const { name, message } of rules.slice(0, MAX_LISTED)) {
    rows.push([plain('Held by '), code(clean(name)), ...(message ? [plain(`: ${clean(message)}`)] : [])])
  }
  rows.push([plain('Digest '), code(shorten(digest)), plain(', card '), code(shorten(approval.cardHash))])
  return rows
}

function shorten(hash: string): string {
  return `${clean(hash).slice(0, 16)}…`
}

interface PayloadTerms {
  readonly detail: CardDetail
  /** In UTF-16 units, after invisible characters were written out. */
  readonly maxPayload: number
  readonly missing: string[]
}

function showPayload(payload: Payload | null, { detail, maxPayload, missing }: PayloadTerms): Elements {
  if (payload === null || isEmpty(payload)) return [lines([[plain('No payload.')]])]
  const title: Inline[] = [
    plain('Payload, '),
    code(clean(payload.mediaType ?? 'no media type', 100)),
    plain(`, ${payload.bytes.toLocaleString('en-US')} ${payload.bytes === 1 ? 'byte' : 'bytes'}`),
  ]
  if (detail !== 'full') {
    missing.push('The configuration keeps payloads out of Slack.')
    return [lines([[...title, plain(': not shown here')]])]
  }
  if (payload.redacted.length > 0) {
    missing.push('Secrets in the payload were replaced.')
    title.push(plain(', replaced: '), ...list(payload.redacted, (pointer) => code(clean(pointer, 100))))
  }
  if (payload.text === null) {
    missing.push('The payload is not text.')
    return [lines([[...title, plain(': not text')]])]
  }
  const shown = fitInto(payload.text, maxPayload, { isMultiline: true })
  if (!payload.isCut && !shown.isCut) return [lines([title]), preformatted(shown.text)]
  missing.push('The payload was cut.')
  return [lines([title]), preformatted(`${shown.text}\n… (cut)`)]
}

/** A call without a body may still say all that matters in its query or its headers. */
function isEmpty({ bytes, text, isCut }: Payload): boolean {
  return bytes === 0 && !text && !isCut
}

const CLAIMS = [
  ['reason', 'Reason'],
  ['model', 'Model'],
  ['prompt', 'Prompt'],
  ['conversation', 'Conversation'],
  ['trace', 'Trace'],
] as const satisfies readonly (readonly [keyof Claimed, string])[]

/** What the agent says of itself; empty if it says nothing. A claim is not forwarded, so that a cut one hides no effect. */
export function showClaimed(claims: Claimed, maxLength: number): Elements {
  const elements: Elements = []
  for (const [name, title] of CLAIMS) {
    const value = claims[name]
    if (value === undefined) continue
    const shown = fitInto(value, maxLength, { isMultiline: true })
    const text = shown.isCut ? `${shown.text}\n… (cut)` : shown.text
    elements.push(lines([[plain(`${title}:`)]]), preformatted(text))
  }
  if (elements.length === 0) return []
  return [lines([[bold('Claimed by the agent'), plain(' (not checked, not forwarded)')]]), ...elements]
}
