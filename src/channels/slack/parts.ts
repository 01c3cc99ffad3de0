import type { types } from '@slack/bolt'
import type { Approval } from '../../domain/approval.ts'
import type { Card } from '../../domain/card.ts'
import type { CardDetail } from '../../domain/channel.ts'
import { counted } from '../../domain/counted.ts'
import type { Precedents } from '../../domain/precedent.ts'
import type { Question } from '../../domain/question.ts'
import { clean, MAX_LISTED } from './foreign.ts'
import { bold, code, type Inline, lines, moment, plain, richText } from './rich-text.ts'
import { HEADINGS } from './wording.ts'

const MAX_REASON = 1000

export interface CardView {
  readonly approval: Approval
  readonly card: Card
  /** What the agent was asked about it, in order. */
  readonly questions?: readonly Question[]
  readonly detail: CardDetail
  readonly precedents?: Precedents | null
  /** Of the control listener: where people find the approver API. */
  readonly publicUrl: string
  /** Said above the card, for instance that the first message was lost. The gateway's own words. */
  readonly note?: string
}

export interface Rendered {
  readonly blocks: types.KnownBlock[]
  /** For notifications and screen readers. Holds nothing an agent wrote. */
  readonly text: string
  /** Whether the card shows everything that would be forwarded, and so offers Approve. */
  readonly isApprovable: boolean
}

/** Slack's `plain_text`: no formatting, no mentions; `:smile:` stays as it is. */
export function label(text: string): types.PlainTextElement {
  return { type: 'plain_text', text, emoji: false }
}

export function head({ approval, note }: CardView): types.KnownBlock[] {
  const header: types.KnownBlock = { type: 'header', text: label(`${HEADINGS[approval.state]}: ${approval.id}`) }
  return note === undefined ? [header] : [header, richText(lines([[plain(note)]]))]
}

/** For notifications: nothing but our own words and the id. */
export function fallback({ approval }: CardView): string {
  return `${HEADINGS[approval.state]}: approval ${approval.id}`
}

/** With `link` a reviewer's words stay away as well: they speak of the call. */
export function showVotes({ approval: { votes }, detail }: Pick<CardView, 'approval' | 'detail'>): Inline[][] {
  const rows: Inline[][] = votes
    .slice(0, MAX_LISTED)
    .map(({ reviewer, decision, reason, via, at, standsFor }) => [
      bold(decision === 'approve' ? 'Approved by ' : 'Denied by '),
      plain(clean(reviewer.name ?? reviewer.subject, 100)),
      ...(standsFor ? [plain(` for ${clean(standsFor.name ?? standsFor.subject, 100)}`)] : []),
      plain(` (${clean((standsFor && via.split(':').at(-1)) ?? via, 20)}) `),
      moment(at),
      ...(reason === null || detail === 'link' ? [] : [plain(': '), code(clean(reason, MAX_REASON))]),
    ])
  return rows.length < votes.length
    ? [...rows, [plain(`… and ${counted(votes.length - rows.length, 'more vote')}`)]]
    : rows
}

export function whereToSee({ approval, publicUrl }: CardView): Inline[] {
  const base = publicUrl.endsWith('/') ? publicUrl : `${publicUrl}/`
  const api = new URL(`v1/approvals/${encodeURIComponent(approval.id)}`, base)
  return [
    plain('All of it: '),
    code(`countersign approvals show ${approval.id}`),
    plain(' or '),
    code(`GET ${api.href}`),
  ]
}
