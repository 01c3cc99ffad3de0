-- Approvals, votes, and what is owed to the channels. Times are the database's own, to the millisecond: replicas'
-- clocks differ, and a time that goes into a MAC must survive the way through a JavaScript Date.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

-- The only ways out of a state; src/domain/approval.ts has the same table.
CREATE TABLE approval_transition (
  from_state text NOT NULL,
  event      text NOT NULL,
  to_state   text NOT NULL,
  PRIMARY KEY (from_state, event)
);
INSERT INTO approval_transition (from_state, event, to_state) VALUES
  ('pending',  'approve',  'approved'),
  ('pending',  'deny',     'denied'),
  ('pending',  'expire',   'expired'),
  ('pending',  'withdraw', 'withdrawn'),
  ('approved', 'spend',    'spent'),
  ('approved', 'deny',     'denied'),
  ('approved', 'expire',   'expired'),
  ('approved', 'withdraw', 'withdrawn');

CREATE TABLE approval (
  id              text PRIMARY KEY CHECK (id ~ '^[0-9A-HJKMNP-TV-Z]{10}$'),
  state           text NOT NULL DEFAULT 'pending'
                  CHECK (state IN ('pending', 'approved', 'denied', 'expired', 'withdrawn', 'spent')),

  -- What was held. Never changes; mac covers it, with a key that the database does not hold.
  call_id         text NOT NULL,
  principal_key   bytea NOT NULL CHECK (length(principal_key) = 32),
  requester       jsonb NOT NULL,
  upstream        text NOT NULL,
  verb            text NOT NULL,
  resource        text NOT NULL,
  rules           jsonb NOT NULL,
  requirements    jsonb NOT NULL,
  match_key       bytea NOT NULL CHECK (length(match_key) = 32),
  digest          bytea NOT NULL CHECK (length(digest) = 32),
  card_hash       bytea NOT NULL CHECK (length(card_hash) = 32),
  use_within_ms   bigint NOT NULL CHECK (use_within_ms > 0),
  created_at      timestamptz NOT NULL,
  expires_at      timestamptz NOT NULL CHECK (expires_at > created_at),
  kid             text NOT NULL,
  mac             bytea NOT NULL,
  -- Who may see it, as selectors and as the owner's written form: finds candidates, is never trusted.
  audience        text[] NOT NULL,
  owner           text,

  -- What became of it.
  is_detached     boolean NOT NULL,
  use_by          timestamptz,
  decided_at      timestamptz CHECK ((decided_at IS NULL) = (state = 'pending')),
  reason          text,
  spent_at        timestamptz,
  spent_call      text,
  spent_by        text,
  outcome         text,
  CHECK (state <> 'pending' OR use_by IS NULL),
  CHECK (state NOT IN ('approved', 'spent') OR use_by IS NOT NULL),
  CHECK ((state = 'spent') = (spent_at IS NOT NULL)),
  CHECK (outcome IS NULL OR state = 'spent'),

  -- Ciphertexts (AES-256-GCM), and the key to them. Without the key nothing can be read any more.
  sealed_call     bytea,
  sealed_card     bytea,
  sealed_response bytea,
  wrapped_key     bytea,
  stored_bytes    bigint NOT NULL CHECK (stored_bytes >= 0),

  -- Who runs a detached call. Matters only until it is spent.
  lease_by        text,
  lease_until     timestamptz
);

-- At most one open approval for the same call of the same principal, however many replicas it reaches at once.
CREATE UNIQUE INDEX approval_open ON approval (principal_key, match_key) WHERE state IN ('pending', 'approved');
CREATE INDEX approval_deadline ON approval ((CASE state WHEN 'pending' THEN expires_at ELSE use_by END))
  WHERE state IN ('pending', 'approved');
CREATE INDEX approval_held ON approval (principal_key, stored_bytes) WHERE stored_bytes > 0;
CREATE INDEX approval_denied ON approval (principal_key, digest, decided_at) WHERE state = 'denied';
CREATE INDEX approval_spent ON approval (principal_key, match_key, spent_at) WHERE state = 'spent';
CREATE INDEX approval_unanswered ON approval (spent_at) WHERE state = 'spent' AND outcome IS NULL;
CREATE INDEX approval_spent_call ON approval (spent_call) WHERE spent_call IS NOT NULL;
CREATE INDEX approval_runnable ON approval (decided_at) WHERE state = 'approved' AND is_detached;
CREATE INDEX approval_key ON approval (decided_at) WHERE wrapped_key IS NOT NULL;
CREATE INDEX approval_call ON approval (call_id);
CREATE INDEX approval_created ON approval (created_at, id);
CREATE INDEX approval_audience ON approval USING gin (audience);
CREATE INDEX approval_owner ON approval (owner, created_at) WHERE owner IS NOT NULL;

CREATE FUNCTION guard_approval() RETURNS trigger LANGUAGE plpgsql SET search_path = countersign, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.state <> 'pending' THEN
      RAISE EXCEPTION 'an approval begins as pending' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF (NEW.id, NEW.call_id, NEW.principal_key, NEW.requester, NEW.upstream, NEW.verb, NEW.resource, NEW.rules,
      NEW.requirements, NEW.match_key, NEW.digest, NEW.card_hash, NEW.use_within_ms, NEW.created_at, NEW.expires_at,
      NEW.kid, NEW.mac)
     IS DISTINCT FROM
     (OLD.id, OLD.call_id, OLD.principal_key, OLD.requester, OLD.upstream, OLD.verb, OLD.resource, OLD.rules,
      OLD.requirements, OLD.match_key, OLD.digest, OLD.card_hash, OLD.use_within_ms, OLD.created_at, OLD.expires_at,
      OLD.kid, OLD.mac) THEN
    RAISE EXCEPTION 'what an approval is about never changes' USING ERRCODE = 'check_violation';
  END IF;
  IF OLD.is_detached AND NOT NEW.is_detached THEN
    RAISE EXCEPTION 'a detached call stays detached' USING ERRCODE = 'check_violation';
  END IF;
  IF NEW.state <> OLD.state THEN
    IF NOT EXISTS (SELECT FROM approval_transition t WHERE t.from_state = OLD.state AND t.to_state = NEW.state) THEN
      RAISE EXCEPTION 'no way from % to %', OLD.state, NEW.state USING ERRCODE = 'check_violation';
    END IF;
  ELSIF (NEW.decided_at, NEW.use_by, NEW.reason, NEW.spent_at, NEW.spent_call, NEW.spent_by)
        IS DISTINCT FROM
        (OLD.decided_at, OLD.use_by, OLD.reason, OLD.spent_at, OLD.spent_call, OLD.spent_by) THEN
    RAISE EXCEPTION 'a decision never changes' USING ERRCODE = 'check_violation';
  END IF;
  -- The call's bytes end with the approval; what the card shows, and a response, are kept until the key is erased.
  IF NEW.state NOT IN ('pending', 'approved') AND OLD.sealed_call IS NOT NULL THEN
    NEW.sealed_call := NULL;
    NEW.stored_bytes := coalesce(length(NEW.sealed_response), 0);
  END IF;
  IF NEW.wrapped_key IS NULL AND OLD.wrapped_key IS NOT NULL THEN
    NEW.sealed_call := NULL;
    NEW.sealed_card := NULL;
    NEW.sealed_response := NULL;
    NEW.stored_bytes := 0;
  END IF;
  IF OLD.wrapped_key IS NULL AND NEW.wrapped_key IS NOT NULL THEN
    RAISE EXCEPTION 'an erased key stays erased' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON approval FOR EACH ROW EXECUTE FUNCTION guard_approval();
ALTER TABLE approval ENABLE ALWAYS TRIGGER guard;

CREATE FUNCTION refuse_removal() RETURNS trigger LANGUAGE plpgsql SET search_path = countersign, pg_temp AS $$
BEGIN
  RAISE EXCEPTION '% of % is refused', TG_OP, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON approval EXECUTE FUNCTION refuse_removal();
ALTER TABLE approval ENABLE ALWAYS TRIGGER keep;

-- One vote a person. It counts only while its MAC holds and its person is still entitled.
CREATE TABLE vote (
  approval         text NOT NULL REFERENCES approval,
  issuer           text NOT NULL,
  subject          text NOT NULL,
  decision         text NOT NULL CHECK (decision IN ('approve', 'deny')),
  reason           text,
  name             text,
  groups           jsonb NOT NULL,
  roles            jsonb NOT NULL,
  assurance        text NOT NULL,
  authenticated_at bigint,
  via              text NOT NULL,
  card_hash        bytea NOT NULL,
  at               timestamptz NOT NULL,
  kid              text NOT NULL,
  mac              bytea NOT NULL,
  PRIMARY KEY (approval, issuer, subject)
);

CREATE FUNCTION guard_vote() RETURNS trigger LANGUAGE plpgsql SET search_path = countersign, pg_temp AS $$
BEGIN
  -- A person may still turn a yes into a no; nothing else about a vote ever changes.
  IF OLD.decision <> 'approve' OR NEW.decision <> 'deny'
     OR (NEW.approval, NEW.issuer, NEW.subject) IS DISTINCT FROM (OLD.approval, OLD.issuer, OLD.subject) THEN
    RAISE EXCEPTION 'a vote never changes' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON vote FOR EACH ROW EXECUTE FUNCTION guard_vote();
ALTER TABLE vote ENABLE ALWAYS TRIGGER guard;
CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON vote EXECUTE FUNCTION refuse_removal();
ALTER TABLE vote ENABLE ALWAYS TRIGGER keep;

-- One row a principal, locked while it opens an approval, so that its limits hold across replicas. A row, because any
-- login role could take an advisory lock and keep everybody waiting.
CREATE TABLE holder (
  principal_key bytea PRIMARY KEY CHECK (length(principal_key) = 32)
);

-- Which approval an Idempotency-Key belongs to, in the scope of principal and upstream. The key itself is not kept.
CREATE TABLE idempotency (
  principal_key bytea NOT NULL,
  upstream      text NOT NULL,
  key_hash      bytea NOT NULL CHECK (length(key_hash) = 32),
  match_key     bytea NOT NULL,
  approval      text NOT NULL REFERENCES approval,
  PRIMARY KEY (principal_key, upstream, key_hash)
);

-- Groups the cards of one agent's conversation; opened is what the channel made of the first.
CREATE TABLE conversation (
  channel text NOT NULL,
  key     text NOT NULL,
  opened  jsonb,
  PRIMARY KEY (channel, key)
);

-- What channels are owed: at most one card and one result a channel. A newer result replaces an older one by raising
-- the generation, so that a delivery under way does not settle what came after it.
CREATE TABLE outbox (
  approval        text NOT NULL REFERENCES approval,
  channel         text NOT NULL,
  kind            text NOT NULL CHECK (kind IN ('card', 'result')),
  conversation    text NOT NULL,
  generation      integer NOT NULL DEFAULT 1,
  attempts        integer NOT NULL DEFAULT 0,
  -- A delivery began and its end is not known: something may have been posted.
  is_uncertain    boolean NOT NULL DEFAULT false,
  created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  next_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
  lease_by        text,
  lease_until     timestamptz,
  posted          jsonb,
  done_at         timestamptz,
  end_result      text CHECK (end_result IN ('delivered', 'dropped', 'skipped')),
  cause           text,
  PRIMARY KEY (approval, channel, kind),
  CHECK ((done_at IS NULL) = (end_result IS NULL))
);
CREATE INDEX outbox_due ON outbox (channel, next_at) WHERE done_at IS NULL;

-- The gateway's processes, by their heartbeats.
CREATE TABLE replica (
  id         text PRIMARY KEY,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  beat_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Ended in order.
  stopped_at timestamptz,
  -- Call ids begin with their time: every call of this process with a smaller id has its outcome.
  low_water  uuid NOT NULL,
  -- It has ended, and the outcomes it still owed were written for it.
  settled_at timestamptz
);
CREATE INDEX replica_unsettled ON replica (beat_at) WHERE settled_at IS NULL;

GRANT SELECT ON approval_transition TO countersign_gateway;
GRANT SELECT, INSERT ON approval TO countersign_gateway;
GRANT UPDATE (state, is_detached, use_by, decided_at, reason, spent_at, spent_call, spent_by, outcome,
  sealed_call, sealed_card, sealed_response, wrapped_key, stored_bytes, lease_by, lease_until)
  ON approval TO countersign_gateway;
GRANT SELECT, INSERT ON vote TO countersign_gateway;
GRANT UPDATE (decision, reason, name, groups, roles, assurance, authenticated_at, via, card_hash, at, kid, mac)
  ON vote TO countersign_gateway;
-- The privilege to update is what a row lock needs.
GRANT SELECT, INSERT, UPDATE ON holder TO countersign_gateway;
GRANT SELECT, INSERT, UPDATE ON idempotency TO countersign_gateway;
GRANT SELECT, INSERT, UPDATE ON conversation TO countersign_gateway;
GRANT SELECT, INSERT, UPDATE ON outbox TO countersign_gateway;
GRANT SELECT, INSERT, UPDATE ON replica TO countersign_gateway;

RESET search_path;
RESET ROLE;
