import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { expect, it } from 'vitest'
import { readUpstream } from '../../src/agents/credentials.ts'

it('refuses a body whose client leaves in the middle of it', async () => {
  const request = new IncomingMessage(new Socket())
  request.headers = { 'content-type': 'application/json', 'content-length': '22' }
  const reading = readUpstream(request, new ServerResponse(request))
  request.push('{"upstream": ')
  request.destroy()
  expect(await reading).toMatchObject({ code: 'malformed', detail: 'Not minted. The body did not come whole.' })
})
