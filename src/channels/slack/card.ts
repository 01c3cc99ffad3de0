import type { types } from '@slack/bolt'
import type { Card } from '../../domain/card.ts'
import { counted } from '../../domain/counted.ts'
import { describeTerms } from '../../domain/need.ts'
import { countReplies, MOST_QUESTIONS } from '../../domain/question.ts'
import { formatButton } from './button.ts'
import { claimButtons, showClaim } from './claim.ts'
import { clean, list, MAX_LISTED } from './foreign.ts'
import { type CardView, fallback, head, label, type Rendered, showVotes, whereToSee } from './parts.ts'
import { showPrecedents } from './precedents.ts'
import { showQuestions } from './question.ts'
import { renderResult } from './result.ts'
import { bold, code, type Inline, lines, MAX_MEASURE, measure, moment, plain, richText } from './rich-text.ts'
import { showClaimed, showDerived, showVerified } from './sections.ts'
import { explain } from './wording.ts'

const MAX_CLAIM = 1500
const MAX_CLAIM_WHEN_CROWDED = 150

/**
 * A card as Slack's blocks. Who calls (verified), what it would do (derived) and why (claimed by the agent) are three
 * blocks of their own. Everything that comes from outside is plain text, with invisible characters written out. Approve
 * is offered only where all that would be forwarded is on the card; Deny always, until it is decided.
 */
export function renderCard(view: CardView): Rendered {
  if (view.approval.state !== 'pending') return renderResult(view)
  if (view.detail === 'link') return renderLink(view, 'The configuration keeps calls out of Slack.')

  for (const maxClaim of [MAX_CLAIM, MAX_CLAIM_WHEN_CROWDED]) {
    const whole = render(view, maxClaim, MAX_MEASURE)
    if (whole) return whole
  }
  return renderCut(view) ?? renderLink(view, 'The call is too long for a message.')
}

/** The least that can be said, for when Slack refuses a card for its content. */
export function renderLeast(view: CardView): Rendered {
  if (view.approval.state === 'pending') return renderLink(view, 'Slack does not take a card of this call.')
  const blocks = [...head(view), richText(lines([[plain(explain(view.approval))], whereToSee(view)]))]
  return { blocks, text: fallback(view), isApprovable: false }
}

/** Which approval, who may decide it, and where to see it; without the second, should that alone be too long. */
function renderLink(view: CardView, why: string): Rendered {
  const whole = assemble(view, [], [why])
  if (measure(whole.blocks) <= MAX_MEASURE) return whole
  const { approval, card } = view
  return assemble({ ...view, approval: { ...approval, votes: [] }, card: { ...card, needed: [] } }, [], [why])
}

/** With as much of the payload as fits. Its length on the wire depends on what it holds, so the length is searched for. */
function renderCut(view: CardView): Rendered | null {
  let best = render(view, MAX_CLAIM_WHEN_CROWDED, 0)
  let [fits, tooLong] = [0, MAX_MEASURE]
  while (best && tooLong - fits > 50) {
    const middle = Math.floor((fits + tooLong) / 2)
    const tried = render(view, MAX_CLAIM_WHEN_CROWDED, middle)
    if (tried) [best, fits] = [tried, middle]
    else tooLong = middle
  }
  return best
}

/** Null if it does not fit into a message. */
function render(view: CardView, maxClaim: number, maxPayload: number): Rendered | null {
  const missing: string[] = []
  const content: types.KnownBlock[] = [
    richText(...showVerified(view.card, missing)),
    { type: 'divider' },
    richText(...showDerived(view, missing, maxPayload), ...showPrecedents(view)),
  ]
  const claims = view.detail === 'full' ? showClaimed(view.card.claimed, maxClaim) : []
  if (claims.length > 0) content.push({ type: 'divider' }, richText(...claims))
  const asked = showQuestions(view, maxClaim)
  if (asked.length > 0) content.push({ type: 'divider' }, richText(...asked))
  const rendered = assemble(view, [...content, { type: 'divider' }], missing)
  return measure(rendered.blocks) <= MAX_MEASURE ? rendered : null
}

/** Puts head, terms and buttons around the content. `missing`: what of the call is not shown. */
function assemble(view: CardView, content: readonly types.KnownBlock[], missing: readonly string[]): Rendered {
  const value = formatButton(view.approval, countReplies(view.questions ?? []))
  const isInConsole = isForConsole(view.card)
  const isApprovable = missing.length === 0 && !isInConsole
  const approve: types.Button = {
    type: 'button',
    action_id: 'countersign.approve',
    style: 'primary',
    text: label('Approve'),
    value,
  }
  const open: types.Button = {
    type: 'button',
    action_id: 'countersign.open',
    style: 'primary',
    text: label('Approve in the console'),
    url: consoleUrl(view),
  }
  const deny: types.Button = {
    type: 'button',
    action_id: 'countersign.deny',
    style: 'danger',
    text: label('Deny'),
    value,
  }
  const ask: types.Button = { type: 'button', action_id: 'countersign.ask', text: label('Ask the agent'), value }
  const blocks: types.KnownBlock[] = [
    ...head(view),
    ...content,
    richText(lines(terms(view, missing))),
    {
      type: 'actions',
      elements: [
        ...(isInConsole ? [open] : isApprovable ? [approve] : []),
        deny,
        ...(mayAsk(view) ? [ask] : []),
        ...claimButtons(view.approval),
      ],
    },
  ]
  return { blocks, text: fallback(view), isApprovable }
}

/** One question at a time, and not more than so many. */
function mayAsk({ questions = [] }: CardView): boolean {
  return questions.length < MOST_QUESTIONS && questions.every(({ reply }) => reply !== null)
}

/** What asks for a fresh sign-in or a passkey is approved where people can give one. */
export function isForConsole({ needed }: Card): boolean {
  return needed.some(({ assurance }) => assurance !== undefined)
}

function consoleUrl({ approval, publicUrl }: CardView): string {
  return new URL(`approvals/${encodeURIComponent(approval.id)}`, publicUrl.endsWith('/') ? publicUrl : `${publicUrl}/`)
    .href
}

function terms(view: CardView, missing: readonly string[]): Inline[][] {
  const rows = showNeeds(view)
  if (missing.length > 0) {
    rows.push([bold('Approve is not offered here. '), plain([...new Set(missing)].join(' '))], whereToSee(view))
  }
  return rows
}

/** Who has to approve, who has voted, and by when. */
export function showNeeds(view: CardView): Inline[][] {
  const { approval, card } = view
  const rows: Inline[][] = card.needed
    .slice(0, MAX_LISTED)
    .map(({ reviewers, quorum, ...more }) => [
      bold(quorum === 1 ? 'Needs 1 approval from ' : `Needs ${quorum} approvals from `),
      ...list(reviewers, (name) => code(clean(name))),
      ...describeTerms(more).map((term) => plain(`, ${clean(term)}`)),
    ])
  if (rows.length < card.needed.length)
    rows.push([plain(`… and ${counted(card.needed.length - rows.length, 'more requirement')}`)])
  rows.push(...showVotes(view), ...showClaim(approval), [bold('Decide by '), moment(approval.expiresAt)])
  return rows
}
