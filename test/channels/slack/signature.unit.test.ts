import { describe, expect, it } from 'vitest'
import { isSignedBySlack } from '../../../src/channels/slack/signature.ts'

/** The example that Slack's documentation works through. */
const secret = '8f742231b10e8888abcd99yyyzzz85a5'
const body = Buffer.from(
  'token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c',
)
const headers = {
  'x-slack-request-timestamp': '1531420618',
  'x-slack-signature': 'v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503',
}
const at = 1_531_420_618_000
const window = 5 * 60_000

describe('isSignedBySlack', () => {
  it('takes the documented example, for five minutes to either side', () => {
    for (const now of [at, at + window, at - window]) expect(isSignedBySlack({ headers, body }, secret, now)).toBe(true)
    for (const now of [at + window + 1, at - window - 1]) {
      expect(isSignedBySlack({ headers, body }, secret, now)).toBe(false)
    }
  })

  it('refuses one changed bit anywhere', () => {
    for (let index = 0; index < body.length; index += 37) {
      const changed = Buffer.from(body)
      changed[index] = (changed[index] ?? 0) ^ 1
      expect(isSignedBySlack({ headers, body: changed }, secret, at)).toBe(false)
    }
    expect(isSignedBySlack({ headers, body }, `${secret}x`, at)).toBe(false)
  })

  it('judges raw bytes: what decodes to the same text is not the same', () => {
    const one = Buffer.from([0x61, 0xff])
    const other = Buffer.from([0x61, 0xfe])
    expect(one.toString('utf8')).toBe(other.toString('utf8'))
    expect(isSignedBySlack({ headers, body: one }, secret, at)).toBe(false)
  })
})
