-- A script of pgbench: what is sent without waiting, what depends on an answer, and what does not succeed.
\set id random(1, 1000)
\startpipeline
SELECT abalance FROM pgbench_accounts WHERE aid = :id;
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :id;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :id, 1, now());
\endpipeline
\startpipeline
BEGIN;
SELECT abalance FROM pgbench_accounts WHERE aid = :id FOR UPDATE;
COMMIT;
\endpipeline
BEGIN;
SELECT abalance AS balance FROM pgbench_accounts WHERE aid = :id \gset
\if :balance > 1
UPDATE pgbench_branches SET bbalance = bbalance + :balance;
\endif
END;
