/** Rejects when the signal aborts: a channel that does not heed its signal must not keep a place for ever. */
export function failWhen(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
