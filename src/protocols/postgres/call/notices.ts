import type { Approval } from '../../../domain/approval.ts'
import { callUrl } from '../../../domain/problem.ts'
import { encodeNotice } from '../wire/report.ts'

const EVERY_MS = 15_000

/** Tells a client that waits for people where to look: at once, and again so that nothing between takes it for dead. */
export interface Notices {
  /** @param isOnly whether no other call can attach to it */
  begin(approval: Approval, isOnly: boolean): void
  end(): void
}

export function createNotices(client: { write(bytes: Uint8Array): void }, publicUrl: string): Notices {
  let timer: NodeJS.Timeout | null = null
  return {
    begin(approval, isOnly) {
      const notice = encodeNotice({
        code: '01000',
        message: `Not executed yet. Waiting for approval ${approval.id}.`,
        detail: `What becomes of it: ${callUrl(publicUrl, approval.callId)}`,
        hint: isOnly ? WAIT : WAIT_OR_RETURN,
      })
      client.write(notice)
      timer = setInterval(() => client.write(notice), EVERY_MS)
      timer.unref()
    },
    end() {
      if (timer) clearInterval(timer)
      timer = null
    },
  }
}

const WAIT_OR_RETURN =
  'Wait here. A cancel withdraws it; after a disconnect, the identical statement attaches to it again.'
const WAIT = 'Wait here. A cancel or a disconnect withdraws it: what it does depends on this session.'
