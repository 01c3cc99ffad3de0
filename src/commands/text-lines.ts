import { makeVisible } from '../domain/visible.ts'

const LABEL_WIDTH = 16

/** A label of ours and what it is of, on one line. */
export function field(label: string, value: string): readonly string[] {
  return [`  ${label.padEnd(LABEL_WIDTH)}${makeVisible(value)}`]
}

export function partyText({ issuer, subject }: { readonly issuer: string; readonly subject: string }): string {
  return `${issuer}|${subject}`
}
