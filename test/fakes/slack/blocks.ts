/**
 * Slack's rules for blocks, as far as a card or a modal uses them: what breaks one is refused, as Slack does, with
 * `invalid_blocks` and a pointer. What Slack takes and this does not know is refused too.
 */
type Fields = Record<string, unknown>

export class BlockError extends Error {}

const MAX_MESSAGE_BLOCKS = 50
const MAX_VIEW_BLOCKS = 100
/** Found by measuring, not documented: slackapi/bolt-js issue 2509. */
const MAX_JSON = 13_000

export function checkMessageBlocks(blocks: unknown): void {
  const list = array(blocks, 'blocks', 1, MAX_MESSAGE_BLOCKS)
  const ids = new Set<string>()
  list.forEach((block, index) => {
    const at = `/blocks/${index}`
    const fields = object(block, at)
    if (fields['type'] === 'input') fail(at, 'unsupported type: input')
    checkBlock(fields, at)
    checkUniqueId(fields, ids, at)
  })
}

export function isTooLongForMessage(blocks: unknown): boolean {
  return JSON.stringify(blocks).length > MAX_JSON
}

/** https://docs.slack.dev/reference/views/modal-views */
export function checkView(view: unknown): void {
  const fields = object(view, '')
  known(fields, '', [
    'type',
    'title',
    'blocks',
    'close',
    'submit',
    'private_metadata',
    'callback_id',
    'clear_on_close',
    'notify_on_close',
    'external_id',
  ])
  if (fields['type'] !== 'modal') fail('/type', 'must be modal')
  plainText(fields['title'], '/title', 24)
  if (fields['close'] !== undefined) plainText(fields['close'], '/close', 24)
  if (fields['submit'] !== undefined) plainText(fields['submit'], '/submit', 24)
  if (fields['private_metadata'] !== undefined) text(fields['private_metadata'], '/private_metadata', 0, 3000)
  if (fields['callback_id'] !== undefined) text(fields['callback_id'], '/callback_id', 0, 255)
  const ids = new Set<string>()
  array(fields['blocks'], '/blocks', 1, MAX_VIEW_BLOCKS).forEach((block, index) => {
    const at = `/blocks/${index}`
    const inner = object(block, at)
    if (inner['type'] === 'input' && fields['submit'] === undefined) fail('/submit', 'required with an input')
    checkBlock(inner, at)
    checkUniqueId(inner, ids, at)
  })
}

function checkUniqueId(block: Fields, ids: Set<string>, at: string): void {
  if (block['block_id'] === undefined) return
  const id = text(block['block_id'], `${at}/block_id`, 1, 255)
  if (ids.has(id)) fail(`${at}/block_id`, `is used twice: ${id}`)
  ids.add(id)
}

function checkBlock(block: Fields, at: string) {
  switch (block['type']) {
    case 'header':
      known(block, at, ['type', 'block_id', 'text'])
      return plainText(block['text'], `${at}/text`, 150)
    case 'divider':
      return known(block, at, ['type', 'block_id'])
    case 'section':
      return checkSection(block, at)
    case 'context':
      known(block, at, ['type', 'block_id', 'elements'])
      return array(block['elements'], `${at}/elements`, 1, 10).forEach((element, index) => {
        textObject(element, `${at}/elements/${index}`, 3000)
      })
    case 'actions':
      return checkActions(block, at)
    case 'input':
      return checkInput(block, at)
    case 'rich_text':
      known(block, at, ['type', 'block_id', 'elements'])
      return array(block['elements'], `${at}/elements`, 1, 1000).forEach((element, index) => {
        checkRichText(object(element, at), `${at}/elements/${index}`)
      })
    default:
      return fail(at, `unsupported type: ${String(block['type'])}`)
  }
}

function checkSection(block: Fields, at: string): void {
  known(block, at, ['type', 'block_id', 'text', 'fields', 'expand'])
  if (block['text'] === undefined && block['fields'] === undefined) fail(at, 'needs text or fields')
  if (block['text'] !== undefined) textObject(block['text'], `${at}/text`, 3000)
  if (block['fields'] === undefined) return
  array(block['fields'], `${at}/fields`, 1, 10).forEach((field, index) => {
    textObject(field, `${at}/fields/${index}`, 2000)
  })
}

function checkActions(block: Fields, at: string): void {
  known(block, at, ['type', 'block_id', 'elements'])
  const ids = new Set<string>()
  array(block['elements'], `${at}/elements`, 1, 25).forEach((element, index) => {
    const place = `${at}/elements/${index}`
    const button = object(element, place)
    if (button['type'] !== 'button') fail(place, `unsupported type: ${String(button['type'])}`)
    known(button, place, ['type', 'action_id', 'text', 'value', 'style', 'url', 'accessibility_label'])
    plainText(button['text'], `${place}/text`, 75)
    const id = text(button['action_id'], `${place}/action_id`, 1, 255)
    if (ids.has(id)) fail(place, `action_id is used twice: ${id}`)
    ids.add(id)
    if (button['value'] !== undefined) text(button['value'], `${place}/value`, 1, 2000)
    if (button['style'] !== undefined && !['primary', 'danger'].includes(String(button['style']))) {
      fail(`${place}/style`, 'must be primary or danger')
    }
  })
}

function checkInput(block: Fields, at: string): void {
  known(block, at, ['type', 'block_id', 'label', 'element', 'hint', 'optional', 'dispatch_action'])
  plainText(block['label'], `${at}/label`, 2000)
  if (block['hint'] !== undefined) plainText(block['hint'], `${at}/hint`, 2000)
  const element = object(block['element'], `${at}/element`)
  if (element['type'] !== 'plain_text_input') fail(`${at}/element`, 'unsupported type')
  known(element, `${at}/element`, [
    'type',
    'action_id',
    'multiline',
    'min_length',
    'max_length',
    'placeholder',
    'initial_value',
    'focus_on_load',
  ])
  text(element['action_id'], `${at}/element/action_id`, 1, 255)
  if (element['max_length'] !== undefined) whole(element['max_length'], `${at}/element/max_length`, 1, 3000)
  if (element['min_length'] !== undefined) whole(element['min_length'], `${at}/element/min_length`, 0, 3000)
}

function checkRichText(element: Fields, at: string) {
  const kinds: Record<string, readonly string[]> = {
    rich_text_section: ['text', 'link', 'emoji', 'user', 'usergroup', 'channel', 'broadcast', 'date', 'color', 'team'],
    rich_text_preformatted: ['text', 'link'],
    rich_text_quote: ['text', 'link', 'emoji', 'user', 'usergroup', 'channel', 'broadcast', 'date', 'color', 'team'],
  }
  const allowed = kinds[String(element['type'])]
  if (!allowed) return fail(at, `unsupported type: ${String(element['type'])}`)
  known(element, at, ['type', 'elements', 'border'])
  array(element['elements'], `${at}/elements`, 1, 1000).forEach((inner, index) => {
    const place = `${at}/elements/${index}`
    const fields = object(inner, place)
    if (!allowed.includes(String(fields['type']))) fail(place, `unsupported type: ${String(fields['type'])}`)
    if (fields['type'] === 'text') {
      known(fields, place, ['type', 'text', 'style'])
      text(fields['text'], `${place}/text`, 1, Number.POSITIVE_INFINITY)
    }
    if (fields['type'] === 'date') {
      known(fields, place, ['type', 'timestamp', 'format', 'fallback', 'url', 'style'])
      whole(fields['timestamp'], `${place}/timestamp`, 0, 10_000_000_000)
      const format = text(fields['format'], `${place}/format`, 1, 255)
      if (!/\{[a-z_]+\}/.test(format)) fail(`${place}/format`, 'has no token')
    }
  })
}

function textObject(value: unknown, at: string, max: number) {
  const fields = object(value, at)
  if (fields['type'] === 'plain_text') return plainText(value, at, max)
  if (fields['type'] !== 'mrkdwn') fail(at, 'must be plain_text or mrkdwn')
  known(fields, at, ['type', 'text', 'verbatim'])
  text(fields['text'], `${at}/text`, 1, max)
}

function plainText(value: unknown, at: string, max: number): void {
  const fields = object(value, at)
  if (fields['type'] !== 'plain_text') fail(at, 'must be plain_text')
  known(fields, at, ['type', 'text', 'emoji'])
  text(fields['text'], `${at}/text`, 1, max)
}

function text(value: unknown, at: string, min: number, max: number): string {
  if (typeof value !== 'string') return fail(at, 'must be a string')
  if (value.length < min) fail(at, `must be more than ${min - 1} characters`)
  if (value.length > max) fail(at, `must be less than ${max + 1} characters`)
  return value
}

function whole(value: unknown, at: string, min: number, max: number): void {
  if (!Number.isInteger(value) || Number(value) < min || Number(value) > max) fail(at, `must be ${min} to ${max}`)
}

function array(value: unknown, at: string, min: number, max: number): unknown[] {
  if (!Array.isArray(value)) return fail(at, 'must be an array')
  if (value.length < min || value.length > max) fail(at, `must have ${min} to ${max} items`)
  return value
}

function object(value: unknown, at: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail(at, 'must be an object')
  return { ...value }
}

function known(fields: Fields, at: string, names: readonly string[]): void {
  const unknown = Object.keys(fields).find((name) => !names.includes(name))
  if (unknown !== undefined) fail(at, `invalid additional property: ${unknown}`)
}

function fail(at: string, problem: string): never {
  throw new BlockError(`[ERROR] ${problem} [json-pointer:${at}]`)
}
