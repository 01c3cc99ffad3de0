-- What psql's own commands ask, and what people type: nothing in it tells one connection or moment from another.
SET search_path = shop, public;
\d
\d+ orders
\d unpaid
\d+ by_customer
\d+ events
\d+ events_2025
\d orders_open
\d numbers
\d+ place
\dT+
\dD+
\dt
\dtvmsi
\df
\df+ twice
\df pg_catalog.lower
\sf twice
\sv unpaid
\l :DBNAME
\duS pg_monitor
\dn+ shop
\dp
\ddp
\dx
\dy
\dRp
\dX
\da
\do
\dP
\db
\dc
\dC
\dF
\drds
\dL
\dO
\dl
\dE
\des
\det
\dA
\encoding
-- Settings and loops of its own.
SELECT count(*) AS n FROM orders \gset
\echo :n
SELECT 'CREATE TABLE g' || n || ' (i int)' FROM generate_series(1, 2) n \gexec
\dt g*
DROP TABLE g1, g2;
SELECT 1 AS a, 2 AS b \gx
SELECT s.i, s.i % 2 AS o, 1 AS v FROM generate_series(1, 3) s(i) \crosstabview
SELECT 1, 'x' AS y \gdesc
SELECT :VERSION_NUM >= 160000 AS binds \gset
\if :binds
SELECT $1::int + $2::int AS sum \bind 4 5 \g
\endif
CREATE TEMPORARY SEQUENCE countdown;
SELECT 3 / (3 - nextval('countdown')) AS until_it_fails \watch 0.01
\set FETCH_COUNT 7
SELECT id, net FROM orders ORDER BY id LIMIT 30;
SELECT 1 / (15 - i) FROM generate_series(1, 30) i;
\set FETCH_COUNT 0
-- Copies.
\copy (SELECT name FROM customers ORDER BY id LIMIT 3) TO STDOUT CSV HEADER
CREATE TABLE loaded (a int, b text);
\copy loaded FROM PSTDIN
\copy loaded FROM 'in.csv' CSV
COPY loaded FROM STDIN;
7	seven
8	\N
\.
SELECT * FROM loaded ORDER BY a;
\copy loaded TO 'out.txt'
\! cat out.txt
COPY loaded FROM STDIN;
x	not a number
\.
\copy loaded FROM 'absent.csv'
COPY loaded TO STDOUT (FORMAT csv, FORCE_QUOTE *);
DROP TABLE loaded;
-- Transactions, cursors, and errors within them.
BEGIN;
SAVEPOINT s;
SELECT 1 / 0;
SELECT 1;
\d orders
ROLLBACK TO s;
SELECT 2 AS alive;
DECLARE c SCROLL CURSOR FOR SELECT id FROM orders ORDER BY id;
FETCH 2 FROM c;
MOVE FORWARD 3 IN c;
FETCH BACKWARD 1 FROM c;
CLOSE c;
COMMIT AND CHAIN;
SELECT nope;
COMMIT;
COMMIT;
DECLARE h CURSOR WITH HOLD FOR SELECT name FROM customers ORDER BY id;
FETCH 2 FROM h;
CLOSE h;
\set AUTOCOMMIT off
SELECT 1 AS in_transaction;
SELECT now() < clock_timestamp() AS passes;
ROLLBACK;
\set AUTOCOMMIT on
\set ON_ERROR_ROLLBACK on
BEGIN;
SELECT 1 / 0;
SELECT 3 AS still;
COMMIT;
\set ON_ERROR_ROLLBACK off
PREPARE p (int) AS SELECT $1 + 1;
EXECUTE p (4);
DEALLOCATE p;
LISTEN news;
NOTIFY news, 'hello';
SELECT 1;
UNLISTEN *;
DO $$BEGIN RAISE NOTICE 'noted %', 1; RAISE WARNING 'warned'; END$$;
SELECT 1; SELECT 2 AS second; SELECT 1 / 0; SELECT 3;
SELECT 1 \; SELECT 2 AS b \; SELECT 3;
-- Errors, with all that the server says of them.
\set VERBOSITY verbose
SELECT * FROM absent;
INSERT INTO customers (name) VALUES ('c1');
SELECT shop.twice('x');
\errverbose
\set VERBOSITY default
SELECT 1 FROM ;
SELECT 'ünï' AS "größer" FROM FROM;
SELECT 'never ended;
';
SELECT "never ended;
";
CALL pay(100);
EXPLAIN (COSTS OFF) SELECT * FROM orders WHERE id = 100;
SET statement_timeout = '50ms';
SELECT pg_sleep(5);
RESET statement_timeout;
SHOW search_path;
\x auto
TABLE customers LIMIT 1;
ANALYZE orders;
VACUUM customers;
DISCARD ALL;
SELECT current_schemas(false);
