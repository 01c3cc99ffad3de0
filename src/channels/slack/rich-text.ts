import type { types } from '@slack/bolt'

type RichText = types.RichTextBlock
type Section = Extract<RichText['elements'][number], { type: 'rich_text_section' }>
type Preformatted = Extract<RichText['elements'][number], { type: 'rich_text_preformatted' }>
export type Inline = Section['elements'][number]

/** What all blocks of a message may measure; Slack's own limit is about 13,000. */
export const MAX_MEASURE = 12_000

/**
 * Builders of Slack's rich text. Its `text` elements are shown as they are: nothing in them is read as a mention, a
 * link, an emoji or formatting, unlike `mrkdwn`, which is used nowhere here.
 */
export function plain(text: string): Inline {
  return { type: 'text', text: orEmpty(text) }
}

export function bold(text: string): Inline {
  return { type: 'text', text: orEmpty(text), style: { bold: true } }
}

export function code(text: string): Inline {
  return { type: 'text', text: orEmpty(text), style: { code: true } }
}

/** A moment in the reader's own time zone. `ms`: since the epoch. */
export function moment(ms: number): Inline {
  const fallback = new Date(ms).toISOString().slice(0, 16).replace('T', ' ')
  return {
    type: 'date',
    timestamp: Math.floor(ms / 1000),
    format: '{date_short_pretty} at {time}',
    fallback: `${fallback} UTC`,
  }
}

/** Lines of inline elements as one section. */
export function lines(rows: readonly (readonly Inline[])[]): Section {
  return {
    type: 'rich_text_section',
    elements: rows.flatMap((row, index) => (index === 0 ? row : [plain('\n'), ...row])),
  }
}

export function preformatted(text: string): Preformatted {
  return { type: 'rich_text_preformatted', elements: [{ type: 'text', text: orEmpty(text) }] }
}

export function richText(...elements: RichText['elements']): RichText {
  return { type: 'rich_text', elements }
}

/** Slack refuses an empty text. */
function orEmpty(text: string): string {
  return text === '' ? '(empty)' : text
}

/**
 * The length of blocks as Slack may count it, in characters. Slack refuses messages whose blocks together exceed about
 * 13,000 (`msg_blocks_too_long`; slackapi/bolt-js issues 2509 and 2867) and does not say how it counts: this counts
 * the JSON with `&`, `<` and `>` as entities and every character beyond ASCII as an escape, the longest of its forms.
 */
export function measure(blocks: readonly types.KnownBlock[]): number {
  let length = 0
  for (const character of JSON.stringify(blocks)) {
    if (character > '~') length += 6 * character.length
    else if (character === '&') length += 5
    else if (character === '<' || character === '>') length += 4
    else length += 1
  }
  return length
}
