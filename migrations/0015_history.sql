-- Finds the approvals of one agent in a history of others', by the hash of its subject, which an index takes however long it
-- is. On Postgres 18, in 100,000 approvals, a page of an agent that has twenty of them, or none, took 200 to 250 ms, and takes
-- 1 to 3. Building it reads the table once, while nothing is held; without new statistics it would hardly be used.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

CREATE INDEX approval_agent ON approval (hashtextextended(requester ->> 'subject', 0), created_at, id);
ANALYZE approval;

RESET search_path;
RESET ROLE;
