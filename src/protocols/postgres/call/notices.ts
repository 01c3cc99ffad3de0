import type { Approval } from '../../../domain/approval.ts'
import { callUrl } from '../../../domain/problem.ts'
import { encodeNotice } from '../wire/report.ts'

const EVERY_MS = 15_000

/** Tells a client that waits for people where to look: at once, and again so that nothing between takes it for dead. */
export interface Notices {
  begin(approval: Approval): void
  end(): void
}

export function createNotices(client: { write(bytes: Uint8Array): void }, publicUrl: string): Notices {
  let timer: NodeJS.Timeout | null = null
  return {
    begin(approval) {
      const notice = encodeNotice({
        code: '01000',
        message: `Not executed yet. Waiting for approval ${approval.id}.`,
        detail: `What becomes of it: ${callUrl(publicUrl, approval.callId)}`,
        hint: 'Wait here. A cancel withdraws it; after a disconnect, the identical statement attaches to it again.',
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
