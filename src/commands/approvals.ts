import { approvalsApprove } from './approvals-approve.ts'
import { approvalsDeny } from './approvals-deny.ts'
import { approvalsList } from './approvals-list.ts'
import { approvalsShow } from './approvals-show.ts'
import type { Group } from './cli.ts'
import type { PersonContext } from './person-context.ts'

export const approvals: Group<PersonContext> = {
  kind: 'group',
  summary: 'Looks at held calls and votes on them',
  commands: { list: approvalsList, show: approvalsShow, approve: approvalsApprove, deny: approvalsDeny },
}
