import type { NoticeWire } from './wire.ts'

/** What everybody who looks has to know: upstreams whose calls are judged, but neither held nor denied. */
export function noticesOf(observed: readonly string[]): readonly NoticeWire[] {
  if (observed.length === 0) return []
  const message = `Observe mode: calls to ${observed.join(', ')} are recorded, but neither held nor denied.`
  return [{ code: 'observe_mode', upstreams: observed, message }]
}
