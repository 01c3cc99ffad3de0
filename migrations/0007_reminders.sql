-- Reminders and escalations of approvals that nobody decides. What is due when follows from the requirements, which the
-- approval's MAC covers; the column only says from when on a sweeper has to look, and who alters it delays or repeats a
-- message. A release that does not know it leaves it null, and reminds nobody.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

ALTER TABLE approval ADD COLUMN remind_at timestamptz;
CREATE INDEX approval_remind ON approval (remind_at) WHERE state = 'pending' AND remind_at IS NOT NULL;
GRANT UPDATE (remind_at) ON approval TO countersign_gateway;

-- As of results: a newer reminder replaces an older one that was not sent yet.
ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_kind_check CHECK (kind IN ('card', 'result', 'reminder'));

RESET search_path;
RESET ROLE;
