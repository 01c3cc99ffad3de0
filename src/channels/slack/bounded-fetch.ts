/** Far more than any answer of the methods used here; a page of 200 messages with full cards is the largest. */
const MAX_ANSWER_BYTES = 8 * 1024 * 1024

/** `fetch` that ends with a timeout or when one of the signals aborts, and reads at most 8 MiB of an answer. */
export function createBoundedFetch(how: {
  readonly timeoutMs: number
  readonly signals: readonly AbortSignal[]
}): typeof fetch {
  return async (input, init) => {
    const given = init?.signal ? [init.signal] : []
    const signal = AbortSignal.any([AbortSignal.timeout(how.timeoutMs), ...how.signals, ...given])
    const response = await fetch(input, { ...init, redirect: 'error', signal })
    const body = await readBounded(response)
    const hasNoBody = [204, 205, 304].includes(response.status)
    return new Response(hasNoBody ? null : body, { status: response.status, headers: response.headers })
  }
}

async function readBounded(response: Response): Promise<Buffer<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength
    if (size > MAX_ANSWER_BYTES) throw new Error(`an answer of more than ${MAX_ANSWER_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
