import type { Approval } from '../domain/approval.ts'

/** Ten characters of Crockford's base 32. */
export const APPROVAL_ID = /^[0-9A-HJKMNP-TV-Z]{10}$/

/** Where a page of a list ended: when its last approval was opened, and which it is. */
export type Cursor = Pick<Approval, 'createdAt' | 'id'>

export function writeCursor({ createdAt, id }: Cursor): string {
  return `${createdAt}.${id}`
}

/** Null if it is not one of ours. */
export function readCursor(text: string): Cursor | null {
  const [at = '', id = '', ...more] = text.split('.')
  if (more.length > 0 || !/^\d{1,15}$/.test(at) || !APPROVAL_ID.test(id)) return null
  return { createdAt: Number(at), id }
}
