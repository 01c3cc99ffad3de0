-- Circuit breakers: what an agent did within a window, the agents that one has tripped for, and what reviewers are told of
-- it. Times are the database's own, so that all replicas count in the same windows.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

-- One row an agent and breaker, of bounded size: the slices of the window that still overlap it, by their beginning in
-- milliseconds since the epoch. The row is what makes counting exact: who adds to it has to wait for who adds before.
CREATE TABLE breaker_count (
  breaker   text NOT NULL, -- `policy/name`
  counts    text NOT NULL CHECK (counts IN ('calls', 'holds', 'denials')),
  window_ms bigint NOT NULL CHECK (window_ms > 0),
  issuer    text NOT NULL,
  subject   text NOT NULL,
  slices    bigint[] NOT NULL,
  amounts   bigint[] NOT NULL,
  until     timestamptz NOT NULL, -- from then on it counts for nothing, and is swept
  PRIMARY KEY (breaker, counts, window_ms, issuer, subject)
) WITH (fillfactor = 50);
CREATE INDEX breaker_count_agent ON breaker_count (issuer, subject);

-- Agents whose every call is held, and by which breaker. Those that one has suspended are in `suspension`.
CREATE TABLE breaker_hold (
  issuer  text NOT NULL,
  subject text NOT NULL,
  breaker text NOT NULL,
  since   timestamptz NOT NULL DEFAULT clock_timestamp(),
  reason  text NOT NULL,
  PRIMARY KEY (issuer, subject, breaker)
);
-- Null where a person did it. A release that does not know it shows `by_subject`, which says it too.
ALTER TABLE suspension ADD COLUMN breaker text;

-- Trips a breaker, if what it counted is still there: a resumption may have come first. Takes the counter's row before the
-- chain's head, as `resume_agent` does. The epoch is raised as by a suspension, so that every intent is before or after.
CREATE FUNCTION trip_breaker(
  tripped text, what text, width bigint, more_than bigint, effect text,
  agent_issuer text, agent_subject text, why text,
  OUT is_tripped boolean, OUT is_changed boolean, OUT counted bigint, OUT epoch bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
  is_changed := false;
  SELECT (SELECT sum(amount)::bigint FROM unnest(c.amounts) AS a (amount)) INTO counted
    FROM countersign.breaker_count c
    WHERE c.breaker = tripped AND c.counts = what AND c.window_ms = width
      AND c.issuer = agent_issuer AND c.subject = agent_subject FOR UPDATE;
  is_tripped := coalesce(counted > more_than, false);
  IF is_tripped AND effect = 'suspend' THEN
    INSERT INTO countersign.suspension (issuer, subject, by_issuer, by_subject, reason, breaker)
      VALUES (agent_issuer, agent_subject, 'countersign', 'breaker ' || tripped, why, tripped) ON CONFLICT DO NOTHING;
    is_changed := FOUND;
  ELSIF is_tripped AND effect = 'hold' THEN
    INSERT INTO countersign.breaker_hold (issuer, subject, breaker, reason)
      VALUES (agent_issuer, agent_subject, tripped, why) ON CONFLICT DO NOTHING;
    is_changed := FOUND;
  END IF;
  IF is_changed THEN
    UPDATE countersign.audit_head h SET epoch = h.epoch + 1 RETURNING h.epoch INTO trip_breaker.epoch;
    PERFORM pg_notify('countersign_suspension', trip_breaker.epoch::text);
  ELSE
    SELECT h.epoch INTO STRICT trip_breaker.epoch FROM countersign.audit_head h;
  END IF;
END $$;

-- Ends whatever stops the agent, and forgets what breakers counted: none trips again on what was before.
CREATE OR REPLACE FUNCTION resume_agent(
  agent_issuer text, agent_subject text, OUT is_changed boolean, OUT epoch bigint
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  was_suspended boolean;
BEGIN
  -- In the order in which they are counted, so that none waits for the other for ever.
  PERFORM FROM countersign.breaker_count c WHERE c.issuer = agent_issuer AND c.subject = agent_subject
    ORDER BY c.breaker, c.counts, c.window_ms FOR UPDATE;
  DELETE FROM countersign.breaker_count WHERE issuer = agent_issuer AND subject = agent_subject;
  DELETE FROM countersign.suspension WHERE issuer = agent_issuer AND subject = agent_subject;
  was_suspended := FOUND;
  DELETE FROM countersign.breaker_hold WHERE issuer = agent_issuer AND subject = agent_subject;
  is_changed := was_suspended OR FOUND;
  UPDATE countersign.audit_head h SET epoch = h.epoch + 1 RETURNING h.epoch INTO resume_agent.epoch;
  PERFORM pg_notify('countersign_suspension', resume_agent.epoch::text);
END $$;

-- What channels are owed besides cards, until it was told. As of a card, a crash may have one told twice, and none is lost.
-- `mac` covers channel and body, with a key that the database does not hold: nobody else speaks to reviewers.
CREATE TABLE notice (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  channel    text NOT NULL,
  body       text NOT NULL,
  kid        text NOT NULL,
  mac        bytea NOT NULL,
  attempts   integer NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  next_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX notice_due ON notice (channel, next_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON breaker_count TO countersign_gateway;
GRANT SELECT ON breaker_hold TO countersign_gateway;
GRANT SELECT, INSERT, UPDATE (attempts, next_at), DELETE ON notice TO countersign_gateway;
GRANT EXECUTE ON FUNCTION trip_breaker(text, text, bigint, bigint, text, text, text, text) TO countersign_gateway;

RESET search_path;
RESET ROLE;
