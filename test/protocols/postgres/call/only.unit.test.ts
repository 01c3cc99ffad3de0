import { expect, it } from 'vitest'
import { isOnlyItself } from '../../../../src/protocols/postgres/call/only.ts'

it.each([
  [{ isAsked: true }, false],
  // The question has run into the statement_timeout of the client, or the transaction has failed.
  [{ isAsked: false }, true],
])('nobody attaches where the upstream did not say what is set: %j', (session, isOnly) => {
  expect(isOnlyItself([], { isInBlock: false, hasUnseenSettings: false, ...session })).toBe(isOnly)
})
