import type { IncomingHttpHeaders } from 'node:http'
import type { FastifyInstance } from 'fastify'

const MAX_CALLBACK_BYTES = 256 * 1024

/** What a chat service calls. It gets the body as it came, since its signature covers the bytes. */
export interface Callback {
  /** Answers POST to this path, and nothing else does. */
  readonly path: string
  handle(request: { readonly headers: IncomingHttpHeaders; readonly body: Buffer }): Promise<CallbackAnswer>
}

export interface CallbackAnswer {
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** The callback checks by itself who calls: no token of a person is asked for. */
export async function mountCallbacks(app: FastifyInstance, callbacks: readonly Callback[]): Promise<void> {
  // In a scope of its own, so that no other route gets bodies unread.
  await app.register(async (scope) => {
    scope.removeAllContentTypeParsers()
    scope.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    for (const { path, handle } of callbacks) {
      scope.post<{ Body: Buffer | undefined }>(path, { bodyLimit: MAX_CALLBACK_BYTES }, async (request, reply) => {
        const answer = await handle({ headers: request.headers, body: request.body ?? Buffer.alloc(0) })
        return reply
          .code(answer.status)
          .headers(answer.headers ?? {})
          .send(answer.body ?? '')
      })
    }
  })
}
