-- The audit log: a hash chain of entries that can only be added to, and beside it what has to change or to be erased.
-- Everything belongs to countersign_owner, a role nobody can log in as.

SET ROLE countersign_owner;

-- One row a link of the chain. `body` is what is chained, byte for byte; every other column but `seq` and `hash` repeats
-- something of it for queries, and the verifier compares them. Names of people and agents, and what an agent claimed,
-- are SHA-256 commitments here; audit_personal has the values, until they are erased.
-- Fixed-length columns stand first: fewer bytes are lost to alignment.
CREATE TABLE countersign.audit_entry (
  seq bigint NOT NULL,
  at timestamptz NOT NULL,
  policy_version bigint,
  call_id uuid,
  kind text NOT NULL,
  approval_id text,
  issuer text,
  subject bytea,
  on_behalf_of bytea,
  owner bytea,
  model bytea,
  upstream text,
  verb text,
  resource text,
  effect text,
  rule text,
  reviewer bytea,
  reviewer_group text,
  outcome text,
  body bytea NOT NULL,
  hash bytea NOT NULL,
  PRIMARY KEY (seq)
) PARTITION BY RANGE (seq);

-- Four small indexes, because every entry pays for each: call ids are ordered by time, approvals are rare, a hash
-- stands for resources of any length, and BRIN keeps one tuple per 128 pages.
CREATE INDEX audit_entry_call ON countersign.audit_entry (call_id);
CREATE INDEX audit_entry_approval ON countersign.audit_entry (approval_id) WHERE approval_id IS NOT NULL;
CREATE INDEX audit_entry_resource ON countersign.audit_entry (hashtextextended(resource, 0)) WHERE kind = 'intent';
CREATE INDEX audit_entry_at ON countersign.audit_entry USING brin (at) WITH (autosummarize = on);

-- commitment = SHA-256(salt || value). Deleting a row erases the value; the chain stays valid without it.
CREATE TABLE countersign.audit_personal (
  commitment bytea PRIMARY KEY,
  salt bytea NOT NULL CHECK (octet_length(salt) = 32),
  field text NOT NULL,
  value text NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX audit_personal_value ON countersign.audit_personal USING hash (value);
CREATE INDEX audit_personal_party ON countersign.audit_personal (at) WHERE field = 'party';

-- Commitments whose value was erased. A gateway that still remembered the value must not bring it back.
CREATE TABLE countersign.audit_erased (commitment bytea PRIMARY KEY);

-- The end of the chain. Appending locks this row, and only the owner can: any role that can log in could take an
-- advisory lock, and stop the gateway. `epoch` counts suspensions, `erasures` erased values; an append returns both.
CREATE TABLE countersign.audit_head (
  is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
  seq bigint NOT NULL,
  hash bytea NOT NULL,
  epoch bigint NOT NULL,
  erasures bigint NOT NULL
);
-- Before the first entry stands the hash of nothing.
INSERT INTO countersign.audit_head (seq, hash, epoch, erasures) VALUES (0, sha256(''), 0, 0);

CREATE FUNCTION countersign.refuse_change() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RAISE EXCEPTION 'the audit log can only be added to: % on % is refused', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'insufficient_privilege';
END $$;

-- ALWAYS: an ordinary trigger is silent under session_replication_role = replica.
CREATE TRIGGER audit_entry_is_final BEFORE UPDATE OR DELETE ON countersign.audit_entry
  FOR EACH ROW EXECUTE FUNCTION countersign.refuse_change();
CREATE TRIGGER audit_entry_stays BEFORE TRUNCATE ON countersign.audit_entry
  FOR EACH STATEMENT EXECUTE FUNCTION countersign.refuse_change();
ALTER TABLE countersign.audit_entry ENABLE ALWAYS TRIGGER audit_entry_is_final;
ALTER TABLE countersign.audit_entry ENABLE ALWAYS TRIGGER audit_entry_stays;

CREATE TRIGGER audit_personal_is_final BEFORE UPDATE ON countersign.audit_personal
  FOR EACH ROW EXECUTE FUNCTION countersign.refuse_change();
ALTER TABLE countersign.audit_personal ENABLE ALWAYS TRIGGER audit_personal_is_final;

-- Makes the partition that holds `some_seq`, ten million entries long. ATTACH, because CREATE TABLE … PARTITION OF would
-- lock out readers, and whoever reads the log for long would stop the gateway. Row triggers are inherited; whether their
-- ALWAYS is depends on the version of Postgres, and TRUNCATE triggers never are.
CREATE FUNCTION countersign.add_audit_partition(some_seq bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  size CONSTANT bigint := 10000000;
  first_seq CONSTANT bigint := some_seq / size * size;
  partition CONSTANT text := format('audit_entry_%s', lpad((some_seq / size)::text, 6, '0'));
BEGIN
  IF to_regclass(format('countersign.%I', partition)) IS NOT NULL THEN
    RETURN;
  END IF;
  EXECUTE format('CREATE TABLE countersign.%I (LIKE countersign.audit_entry INCLUDING ALL)', partition);
  EXECUTE format('CREATE TRIGGER audit_entry_stays BEFORE TRUNCATE ON countersign.%I
    FOR EACH STATEMENT EXECUTE FUNCTION countersign.refuse_change()', partition);
  EXECUTE format('ALTER TABLE countersign.audit_entry ATTACH PARTITION countersign.%I FOR VALUES FROM (%s) TO (%s)',
    partition, first_seq, first_seq + size);
  EXECUTE format('ALTER TABLE countersign.%I ENABLE ALWAYS TRIGGER audit_entry_is_final,
    ENABLE ALWAYS TRIGGER audit_entry_stays', partition);
END $$;

CREATE FUNCTION countersign.try_audit_partition(some_seq bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
BEGIN
  PERFORM countersign.add_audit_partition(some_seq);
EXCEPTION WHEN lock_not_available THEN
  NULL;
END $$;

SELECT countersign.add_audit_partition(0);

-- The cluster as `store recover` and every start know it. The timeline of the write-ahead log changes at the moment of a
-- promotion; the one in pg_control only at the checkpoint after it.
CREATE FUNCTION countersign.store_timeline() RETURNS text
LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
  SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)
$$;

-- Where the chain ends, in which cluster, and the hash of the entry that the caller knows as `known_seq`.
CREATE FUNCTION countersign.store_state(
  known_seq bigint,
  OUT system_identifier text, OUT timeline text, OUT seq bigint, OUT hash bytea, OUT epoch bigint, OUT erasures bigint,
  OUT known_hash bytea
) LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT (SELECT c.system_identifier::text FROM pg_control_system() c), countersign.store_timeline(),
    h.seq, h.hash, h.epoch, h.erasures,
    CASE WHEN known_seq = h.seq THEN h.hash
      ELSE (SELECT e.hash FROM countersign.audit_entry e WHERE e.seq = known_seq) END
  FROM countersign.audit_head h
$$;

-- Chains entries: `batch` holds their bodies (RFC 8785 JSON, which has no raw newline) joined by newlines, `personal` the
-- values behind new commitments as [[salt in base64, field, value], …]. The columns are read from the bodies, so that
-- they cannot differ. Locks the head until the transaction ends: call it last, and commit.
--
-- The caller says which entry it has seen committed last, and on which timeline; a store that does not hold that entry is
-- another one, or an earlier one, and nothing is chained to it (SQLSTATE CS001). Null skips that.
--
-- The hashes are computed in a loop and inserted by one statement. On Postgres 18, 537-byte bodies, per entry: loop with
-- array_append 1.7 µs, a window over an aggregate 2.1 (PL/pgSQL) to 3.2 µs (SQL), and reading the columns with
-- json_to_record 8.2 µs, with one jsonb and ->> 9.2 µs, with json_to_recordset over the whole batch 9.9 µs.
CREATE FUNCTION countersign.append(
  batch text, personal text, known_seq bigint, known_hash bytea, known_timeline text,
  OUT first_seq bigint, OUT last_seq bigint, OUT hash bytea, OUT epoch bigint, OUT erasures bigint
) LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  head record;
  body text;
  bodies CONSTANT text[] := string_to_array(batch, E'\n');
  hashes bytea[] := '{}';
  link bytea;
  partition_size CONSTANT bigint := 10000000;
BEGIN
  IF current_setting('synchronous_commit') IN ('off', 'local') OR
     current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'entries are appended under READ COMMITTED and with synchronous_commit on, not % and %',
      current_setting('transaction_isolation'), current_setting('synchronous_commit') USING ERRCODE = 'CS002';
  END IF;
  IF cardinality(bodies) = 0 THEN
    RAISE EXCEPTION 'nothing to append' USING ERRCODE = 'invalid_parameter_value';
  END IF;

  -- Before the lock, to hold it for less.
  IF personal IS NOT NULL THEN
    INSERT INTO countersign.audit_personal (commitment, salt, field, value)
      SELECT sha256(p.salt || convert_to(p.value, 'UTF8')), p.salt, p.field, p.value
      FROM (SELECT decode(row ->> 0, 'base64') AS salt, row ->> 1 AS field, row ->> 2 AS value
            FROM json_array_elements(personal::json) AS row) p
      WHERE NOT EXISTS (SELECT FROM countersign.audit_erased d
                        WHERE d.commitment = sha256(p.salt || convert_to(p.value, 'UTF8')))
      ON CONFLICT DO NOTHING;
  END IF;

  SELECT h.seq, h.hash, h.epoch, h.erasures INTO STRICT head FROM countersign.audit_head h FOR UPDATE;

  IF known_timeline <> countersign.store_timeline() THEN
    RAISE EXCEPTION 'the store is on another timeline' USING ERRCODE = 'CS001';
  END IF;
  IF known_seq = head.seq AND known_hash = head.hash THEN
    NULL; -- the usual case of a single writer, without a look at the table
  ELSIF known_seq > 0 AND NOT EXISTS
      (SELECT FROM countersign.audit_entry e WHERE e.seq = known_seq AND e.hash = known_hash) THEN
    RAISE EXCEPTION 'the store does not hold entry % as it was', known_seq USING ERRCODE = 'CS001';
  END IF;

  link := head.hash;
  FOREACH body IN ARRAY bodies LOOP
    link := sha256('\x01'::bytea || link || sha256('\x00'::bytea || convert_to(body, 'UTF8')));
    hashes := array_append(hashes, link);
  END LOOP;
  first_seq := head.seq + 1;
  last_seq := head.seq + cardinality(bodies);

  IF last_seq / partition_size > head.seq / partition_size THEN
    PERFORM countersign.add_audit_partition(last_seq);
  ELSIF last_seq % partition_size > partition_size - 1000000 THEN
    -- Made a million entries before it is needed, and tried again with each batch: whoever is in the way may stay there.
    PERFORM countersign.try_audit_partition(last_seq + 1000000);
  END IF;

  INSERT INTO countersign.audit_entry (seq, at, policy_version, call_id, kind, approval_id, issuer, subject, on_behalf_of,
      owner, model, upstream, verb, resource, effect, rule, reviewer, reviewer_group, outcome, body, hash)
    SELECT head.seq + b.nth, e.at, e.policy_version, e.call_id, e.kind, e.approval_id, e.issuer,
      decode(e.subject, 'base64'), decode(e.on_behalf_of, 'base64'), decode(e.owner, 'base64'),
      decode(e.model, 'base64'), e.upstream, e.verb, e.resource, e.effect, e.rule,
      decode(e.reviewer, 'base64'), e.reviewer_group, e.outcome, convert_to(b.body, 'UTF8'), b.hash
    FROM unnest(bodies, hashes) WITH ORDINALITY AS b (body, hash, nth),
      json_to_record(b.body::json) AS e (at timestamptz, policy_version bigint, call_id uuid, kind text, approval_id text,
        issuer text, subject text, on_behalf_of text, owner text, model text, upstream text, verb text, resource text,
        effect text, rule text, reviewer text, reviewer_group text, outcome text);

  UPDATE countersign.audit_head SET seq = last_seq, hash = link;
  hash := link;
  epoch := head.epoch;
  erasures := head.erasures;
END $$;

-- Forgets a value wherever it was recorded, and says how many commitments it had. A bare subject is erased as
-- `issuer|subject`. The count of erasures tells gateways to forget the commitments they remember; a value that appears
-- again gets a new one. For administrators: SET ROLE countersign_owner.
CREATE FUNCTION countersign.erase_personal(erased text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  found bigint;
BEGIN
  WITH gone AS (DELETE FROM countersign.audit_personal p WHERE p.value = erased RETURNING p.commitment)
    INSERT INTO countersign.audit_erased SELECT commitment FROM gone;
  GET DIAGNOSTICS found = ROW_COUNT;
  UPDATE countersign.audit_head SET erasures = erasures + 1;
  RETURN found;
END $$;

-- What auditors read. Joins whose columns are not asked for cost nothing (the planner drops them), nor does prev_hash.
CREATE VIEW countersign.audit_log AS
SELECT e.seq, e.at, e.kind, e.call_id, e.approval_id, e.issuer,
  substr(subject.value, length(e.issuer) + 2) AS subject, -- a party's value is `issuer|subject`
  on_behalf_of.value AS on_behalf_of, owner.value AS owner, model.value AS model,
  e.upstream, e.verb, e.resource, e.effect, e.rule, e.policy_version,
  reviewer.value AS reviewer, e.reviewer_group, e.outcome, e.body,
  sha256('\x00'::bytea || e.body) AS leaf_hash,
  CASE e.seq WHEN 1 THEN sha256('')
    ELSE (SELECT p.hash FROM countersign.audit_entry p WHERE p.seq = e.seq - 1) END AS prev_hash,
  e.hash
FROM countersign.audit_entry e
  LEFT JOIN countersign.audit_personal subject ON subject.commitment = e.subject
  LEFT JOIN countersign.audit_personal on_behalf_of ON on_behalf_of.commitment = e.on_behalf_of
  LEFT JOIN countersign.audit_personal owner ON owner.commitment = e.owner
  LEFT JOIN countersign.audit_personal model ON model.commitment = e.model
  LEFT JOIN countersign.audit_personal reviewer ON reviewer.commitment = e.reviewer;

-- Agents, and those they act for, that are stopped.
CREATE TABLE countersign.suspension (
  issuer text NOT NULL,
  subject text NOT NULL,
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  by_issuer text NOT NULL,
  by_subject text NOT NULL,
  reason text,
  PRIMARY KEY (issuer, subject)
);

CREATE VIEW countersign.suspension_epoch AS SELECT epoch FROM countersign.audit_head;

-- Both raise the epoch, which the append of an intent returns: a gateway that sees a newer one than it knows looks here
-- before it forwards. They lock the chain's head, so that every intent is before or after; the NOTIFY is only a hint.
CREATE FUNCTION countersign.suspend_agent(
  agent_issuer text, agent_subject text, by_issuer text, by_subject text, why text,
  OUT is_changed boolean, OUT epoch bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO countersign.suspension (issuer, subject, by_issuer, by_subject, reason)
    VALUES (agent_issuer, agent_subject, suspend_agent.by_issuer, suspend_agent.by_subject, why)
    ON CONFLICT DO NOTHING;
  is_changed := FOUND;
  UPDATE countersign.audit_head h SET epoch = h.epoch + 1 RETURNING h.epoch INTO suspend_agent.epoch;
  PERFORM pg_notify('countersign_suspension', suspend_agent.epoch::text);
END $$;

CREATE FUNCTION countersign.resume_agent(
  agent_issuer text, agent_subject text, OUT is_changed boolean, OUT epoch bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  DELETE FROM countersign.suspension WHERE issuer = agent_issuer AND subject = agent_subject;
  is_changed := FOUND;
  UPDATE countersign.audit_head h SET epoch = h.epoch + 1 RETURNING h.epoch INTO resume_agent.epoch;
  PERFORM pg_notify('countersign_suspension', resume_agent.epoch::text);
END $$;

-- An operator's word that the store may be used after a restore or a failover. The MAC is made with a key that the
-- database does not have.
CREATE TABLE countersign.store_acknowledgement (
  seq bigint PRIMARY KEY, -- of its store_recovered entry
  hash bytea NOT NULL,
  system_identifier text NOT NULL,
  timeline text NOT NULL,
  at_ms bigint NOT NULL,
  kid text NOT NULL,
  mac bytea NOT NULL
);

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA countersign FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

GRANT SELECT ON countersign.audit_log, countersign.audit_entry, countersign.audit_personal
  TO countersign_gateway, countersign_auditor;
GRANT EXECUTE ON FUNCTION countersign.store_state(bigint) TO countersign_gateway, countersign_auditor;
GRANT EXECUTE ON FUNCTION countersign.append(text, text, bigint, bytea, text) TO countersign_gateway;
GRANT EXECUTE ON FUNCTION countersign.suspend_agent(text, text, text, text, text) TO countersign_gateway;
GRANT EXECUTE ON FUNCTION countersign.resume_agent(text, text) TO countersign_gateway;
GRANT SELECT ON countersign.suspension, countersign.suspension_epoch TO countersign_gateway;
GRANT SELECT, INSERT ON countersign.store_acknowledgement TO countersign_gateway;

RESET ROLE;
