/** Time, passed in so that tests can move it. */
export interface Clock {
  /** Milliseconds since the epoch; may jump when the machine's clock is set. */
  now(): number
  /** Milliseconds since some fixed moment; never goes back. For durations and deadlines within the process. */
  monotonic(): number
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
}
