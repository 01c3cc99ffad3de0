-- What people look for in the log and seldom stands there: votes, decisions, suspensions, policies among millions of
-- calls. Both indexes leave out the two entries of an ordinary call, which pay only for the two conditions: on Postgres 18,
-- in batches of a hundred, nothing that could be told from chance. An entry that is in both pays for two rows, 80 bytes, and
-- 4 µs of 50. What is looked for otherwise is found stretch by stretch, from the newest entry back, and needs no index.
-- Building them reads the whole log once, while nothing is appended.
SET ROLE countersign_owner;

CREATE INDEX audit_entry_seldom ON countersign.audit_entry (seq) WHERE kind NOT IN ('intent', 'outcome');
CREATE INDEX audit_entry_reviewer ON countersign.audit_entry (reviewer, seq) WHERE reviewer IS NOT NULL;

RESET ROLE;
