import type { ApprovalWire, NoticeWire, ShownWire } from '../control/wire.ts'
import { counted } from '../domain/counted.ts'
import { OUTCOMES } from '../domain/entry.ts'
import { describeTerms } from '../domain/need.ts'
import { makeVisible } from '../domain/visible.ts'
import { formatClaim, formatPrecedents } from './help-text.ts'
import { field, partyText } from './text-lines.ts'

/*
 * An approval as text for a terminal. Everything in it that an agent could have chosen is made visible, and stays on
 * lines of its own: it can neither move the cursor nor pretend to be a line of ours.
 */

/** One line an approval, under a heading. */
export function formatList(approvals: readonly ApprovalWire[], now: number): readonly string[] {
  if (approvals.length === 0) return ['There are none.']
  const rows = approvals.map((approval) => [
    approval.id,
    approval.state,
    makeVisible(approval.upstream),
    makeVisible(`${approval.verb} ${approval.resource}`),
    makeVisible(approval.requester.subject),
    deadlineOf(approval, now),
  ])
  return formatTable([['ID', 'STATE', 'UPSTREAM', 'ACTION', 'AGENT', 'LEFT'], ...rows])
}

/** Columns as wide as their widest cell; the first row is the heading. */
export function formatTable(table: readonly (readonly string[])[]): readonly string[] {
  const widths = table.reduce<number[]>((most, row) => row.map((cell, at) => Math.max(most[at] ?? 0, cell.length)), [])
  return table.map((row) =>
    row
      .map((cell, at) => cell.padEnd(widths[at] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

/** All that is known of an approval: the card, and the call exactly as it would be forwarded. */
export function formatShown(shown: ShownWire, now: number): readonly string[] {
  const { approval } = shown
  return [
    `Approval ${approval.id} is ${approval.state}${deadlineText(approval, now)}`,
    ...formatStanding(shown),
    ...(approval.reason === null ? [] : field('reason', approval.reason)),
    ...formatClaim(approval),
    '',
    ...formatVerified(approval),
    '',
    ...formatDerived(shown),
    '',
    ...formatPrecedents(shown),
    ...formatClaimed(shown),
    '',
    ...formatQuestions(shown),
    ...formatNeeds(approval),
    ...field('card hash', approval.card_hash),
  ]
}

export function formatNotices(notices: readonly NoticeWire[]): readonly string[] {
  return notices.map(({ message }) => `! ${makeVisible(message)}`)
}

function formatStanding({ approval, outcome }: ShownWire): readonly string[] {
  const { state } = approval
  const isOpen = state === 'pending' || state === 'approved'
  const forwards = isOpen ? ': once approved, the gateway forwards the call at once' : ''
  return [
    ...field('asked at', approval.created_at),
    ...(approval.detached ? field('detached', `nobody waits for the response${forwards}`) : []),
    ...(state === 'spent' ? field('outcome', outcome ? `${outcome}: ${OUTCOMES[outcome]}` : 'not recorded yet') : []),
  ]
}

function formatVerified({ requester }: ApprovalWire): readonly string[] {
  const { on_behalf_of: onBehalfOf, owner } = requester
  return [
    'Verified: who calls',
    ...field('agent', requester.subject),
    ...field('issuer', requester.issuer),
    ...field('on behalf of', onBehalfOf ? partyText(onBehalfOf) : 'nobody'),
    ...field('owner', owner ? partyText(owner) : 'none'),
    ...requester.actors.flatMap((actor) => field('through', partyText(actor))),
    ...field('groups', requester.groups.join(', ') || 'none'),
  ]
}

function formatDerived({ approval, card, call }: ShownWire): readonly string[] {
  const actions = card?.derived.actions ?? [approval]
  const rules = card?.derived.rules ?? approval.rules.map((name) => ({ name, message: null }))
  const labels = Object.entries(card?.derived.labels ?? {}).map(([name, value]) => ` ${name}=${value}`)
  return [
    'Derived from the call: what it would do',
    ...field('upstream', approval.upstream + labels.join('')),
    ...actions.flatMap(({ verb, resource }) => field('action', `${verb} ${resource}`)),
    ...rules.flatMap(({ name, message }) => [
      ...field('held by', name),
      ...(message === null ? [] : field('its message', message)),
    ]),
    ...(card?.derived.notes ?? []).flatMap((note) => field('note', note)),
    ...formatContent(card, call),
    ...field('digest', approval.digest),
    ...(call ? formatCall(call) : field('call', 'no longer kept')),
  ]
}

/** What the card shows of the content. Where only its layout differs from what would be forwarded, that is enough. */
function formatContent(card: ShownWire['card'], call: ShownWire['call']): readonly string[] {
  const { text = null, mediaType = null } = card?.derived.payload ?? {}
  if (text === null || text === '') return []
  if (call?.body.encoding === 'utf8' && withoutLayout(call.body.content) === withoutLayout(text)) return []
  return [...field('content', `${mediaType ?? 'of no media type'}, as the card shows it`), ...quote(text)]
}

function withoutLayout(text: string): string {
  return text.replace(/\s+/g, '')
}

function formatCall({ head, body }: NonNullable<ShownWire['call']>): readonly string[] {
  const text = body.encoding === 'utf8'
  const how = text ? 'whole' : 'not text, whole, in base64'
  const { headers, ...rest } = head
  const pairs = readPairs(headers)
  return [
    ...field('call', 'exactly as it would be forwarded'),
    ...quote(JSON.stringify(pairs ? rest : head, null, 2)),
    ...(pairs ? formatHeaders(pairs) : []),
    ...field('body', `${counted(body.bytes, 'byte')}, ${how}`),
    ...quote(text ? body.content : body.content.replace(/.{76}/g, '$&\n')),
  ]
}

/** A name of a header (RFC 9110, section 5.1): what can be told from the value behind it. */
const HEADER_NAME = /^[\w!#$%&'*+.^`|~-]+$/

/** Names and values, which a protocol may give one after the other; null if it is anything else. */
function readPairs(headers: unknown): readonly (readonly [name: string, value: string])[] | null {
  if (!Array.isArray(headers) || headers.length % 2 !== 0) return null
  const pairs: [string, string][] = []
  for (let at = 0; at < headers.length; at += 2) {
    const [name, value]: readonly unknown[] = headers.slice(at, at + 2)
    if (typeof name !== 'string' || typeof value !== 'string' || !HEADER_NAME.test(name)) return null
    pairs.push([name, value])
  }
  return pairs
}

function formatHeaders(pairs: readonly (readonly [string, string])[]): readonly string[] {
  return [
    ...field('headers', pairs.length === 0 ? 'none' : `${pairs.length}`),
    ...pairs.map(([name, value]) => (value === '' ? `  | ${name}:` : `  | ${name}: ${showValue(value)}`)),
  ]
}

const BLANK = '⟨U+0020⟩'

/** On one line, with the blanks that nobody would see written out. */
function showValue(value: string): string {
  const text = makeVisible(value).replaceAll('\t', '⟨U+0009⟩')
  const inner = text.trim()
  const before = text.length - text.trimStart().length
  const after = text.length - before - inner.length
  return `${BLANK.repeat(before)}${inner}${BLANK.repeat(after)}`
}

function formatClaimed({ card }: ShownWire): readonly string[] {
  const claims = Object.entries(card?.claimed ?? {}).filter(([, value]) => value !== undefined)
  return [
    'Claimed by the agent: nobody checked it',
    ...(claims.length === 0 ? ['  nothing'] : claims.flatMap(([name, value]) => field(name, String(value)))),
  ]
}

/** In order; what the agent replied stays behind a bar, as all that is its own. */
function formatQuestions({ questions = [] }: ShownWire): readonly string[] {
  if (questions.length === 0) return []
  return [
    `Asked of the agent: ${counted(questions.filter(({ reply }) => reply !== null).length, 'reply', 'replies')}, which nobody checked`,
    ...questions.flatMap(({ by, text, asked_at: at, reply }) => [
      ...field('asked', `by ${by.name ?? by.subject} (${partyText(by)}) at ${at}`),
      ...quote(text),
      ...field('replied', reply ? `at ${reply.at}` : 'not yet'),
      ...(reply ? quote(reply.text) : []),
    ]),
    '',
  ]
}

function formatNeeds({ requirements, votes }: ApprovalWire): readonly string[] {
  return [
    'Needs',
    ...requirements.map(({ rule, reviewers, quorum, ...more }) => {
      const who = `${quorum} of ${reviewers.join(', ')}`
      return `  ${makeVisible([`${who}, for ${rule}`, ...describeTerms(termsOf(more))].join('; '))}`
    }),
    ...votes.map(({ reviewer, decision, reason, via, at, stands_for: absent }) => {
      const whose = absent ? ` for ${partyText(absent)}` : ''
      const who = `${reviewer.name ?? reviewer.subject} (${partyText(reviewer)})${whose}`
      return `  ${makeVisible(`${decision} by ${who} through ${via} at ${at}${reason === null ? '' : `: ${reason}`}`)}`
    }),
  ]
}

function termsOf(wire: Omit<ApprovalWire['requirements'][number], 'rule' | 'reviewers' | 'quorum'>) {
  const { reason_required: isReasonRequired, deny_quorum: denyQuorum, exclude, hours, escalate, override } = wire
  const { assurance, max_age: maxAgeS = 0 } = wire
  return {
    isReasonRequired,
    ...(exclude && { exclude }),
    ...(denyQuorum !== undefined && { denyQuorum }),
    ...(hours !== undefined && { hours }),
    ...(assurance && {
      assurance: assurance === 'fresh' ? { kind: assurance, maxAgeMs: maxAgeS * 1000 } : { kind: assurance },
    }),
    ...(override && { override }),
    ...(escalate && { escalate: { at: Date.parse(escalate.at), to: escalate.to } }),
  }
}

/** Lines that are not ours, marked as such. */
function quote(text: string): readonly string[] {
  if (text === '') return ['  | (empty)']
  return makeVisible(text, { isMultiline: true })
    .split('\n')
    .map((line) => `  | ${line}`)
}

function deadlineText(approval: ApprovalWire, now: number): string {
  const left = deadlineOf(approval, now)
  if (left === '') return ''
  return approval.state === 'pending' ? `; ${left} left to decide` : `; ${left} left to use it`
}

function deadlineOf({ state, expires_at: expiresAt, use_by: useBy }: ApprovalWire, now: number): string {
  const end = state === 'pending' ? expiresAt : state === 'approved' ? useBy : null
  if (end === null) return ''
  const seconds = Math.max(0, Math.round((Date.parse(end) - now) / 1000))
  return seconds >= 120 ? `${Math.floor(seconds / 60)} min` : `${seconds} s`
}
