-- What reviewers ask an agent whose call waits, and what it replies. The words, and whose they are, are encrypted under the
-- data key of the approval and bound to it and to their place: whoever writes to the database asks nothing in a reviewer's
-- name and replies nothing in an agent's, and they are gone with the key. What stands beside them is when.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

CREATE TABLE question (
  id              text PRIMARY KEY CHECK (id ~ '^[0-9A-HJKMNP-TV-Z]{10}$'),
  approval        text NOT NULL REFERENCES approval,
  nth             smallint NOT NULL CHECK (nth BETWEEN 1 AND 20),
  asked_at        timestamptz NOT NULL,
  sealed_question bytea NOT NULL,
  -- When an attempt of the agent was first answered with it.
  told_at         timestamptz,
  replied_at      timestamptz,
  sealed_reply    bytea,
  UNIQUE (approval, nth),
  CHECK ((replied_at IS NULL) = (sealed_reply IS NULL))
);
-- One question at a time.
CREATE UNIQUE INDEX question_open ON question (approval) WHERE replied_at IS NULL;

CREATE FUNCTION guard_question() RETURNS trigger LANGUAGE plpgsql SET search_path = countersign, pg_temp AS $$
BEGIN
  IF (NEW.id, NEW.approval, NEW.nth, NEW.asked_at, NEW.sealed_question)
     IS DISTINCT FROM (OLD.id, OLD.approval, OLD.nth, OLD.asked_at, OLD.sealed_question)
     OR (OLD.told_at IS NOT NULL AND NEW.told_at IS DISTINCT FROM OLD.told_at)
     OR (OLD.replied_at IS NOT NULL AND (NEW.replied_at, NEW.sealed_reply) IS DISTINCT FROM (OLD.replied_at, OLD.sealed_reply))
  THEN
    RAISE EXCEPTION 'what was asked and replied never changes' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON question FOR EACH ROW EXECUTE FUNCTION guard_question();
ALTER TABLE question ENABLE ALWAYS TRIGGER guard;
CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON question EXECUTE FUNCTION refuse_removal();
ALTER TABLE question ENABLE ALWAYS TRIGGER keep;

GRANT SELECT, INSERT ON question TO countersign_gateway;
GRANT UPDATE (told_at, replied_at, sealed_reply) ON question TO countersign_gateway;

-- Channels are told of questions and replies as well. Which kinds there are is the release's to know: one that does not know
-- a kind brings the card up to date.
ALTER TABLE outbox DROP CONSTRAINT outbox_kind_check;
ALTER TABLE outbox ADD CONSTRAINT outbox_kind_check CHECK (kind ~ '^[a-z_]{1,20}$');

-- Who stands in for whom while they are away. What it says never changes and is covered by its MAC, under a key that the
-- database does not hold; that it was ended stays.
CREATE TABLE delegation (
  id               text PRIMARY KEY CHECK (id ~ '^[0-9A-HJKMNP-TV-Z]{10}$'),
  -- Who is away, as they stood when they said so.
  issuer           text NOT NULL,
  subject          text NOT NULL,
  name             text,
  groups           jsonb NOT NULL,
  roles            jsonb NOT NULL,
  assurance        text NOT NULL,
  authenticated_at bigint,
  -- Who stands in.
  delegate_issuer  text NOT NULL,
  delegate_subject text NOT NULL,
  delegate_name    text,
  made_at          timestamptz NOT NULL,
  begins_at        timestamptz NOT NULL,
  until            timestamptz NOT NULL CHECK (until > begins_at AND until <= begins_at + interval '31 days'),
  kid              text NOT NULL,
  mac              bytea NOT NULL CHECK (length(mac) = 32),
  ended_at         timestamptz,
  CHECK ((issuer, subject) IS DISTINCT FROM (delegate_issuer, delegate_subject))
);
-- One at a time.
CREATE UNIQUE INDEX delegation_person ON delegation (issuer, subject) WHERE ended_at IS NULL;
CREATE INDEX delegation_delegate ON delegation (delegate_issuer, delegate_subject) WHERE ended_at IS NULL;

CREATE FUNCTION guard_delegation() RETURNS trigger LANGUAGE plpgsql SET search_path = countersign, pg_temp AS $$
BEGIN
  IF to_jsonb(NEW) - 'ended_at' IS DISTINCT FROM to_jsonb(OLD) - 'ended_at'
     OR (OLD.ended_at IS NOT NULL AND NEW.ended_at IS DISTINCT FROM OLD.ended_at) THEN
    RAISE EXCEPTION 'what a delegation says never changes, and an ended one stays ended' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE UPDATE ON delegation FOR EACH ROW EXECUTE FUNCTION guard_delegation();
ALTER TABLE delegation ENABLE ALWAYS TRIGGER guard;
CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON delegation EXECUTE FUNCTION refuse_removal();
ALTER TABLE delegation ENABLE ALWAYS TRIGGER keep;

GRANT SELECT, INSERT ON delegation TO countersign_gateway;
GRANT UPDATE (ended_at) ON delegation TO countersign_gateway;

-- Finds those who have voted, one look for each, however many votes there are.
CREATE INDEX vote_person ON vote (issuer, subject, at);

RESET search_path;
RESET ROLE;
