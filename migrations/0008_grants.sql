-- Grants: a reviewer's bounded "yes, and the same again". What a grant says never changes, and its MAC covers it, with a
-- key that the database does not hold. How often it was used only rises, one at a time, and a revocation stays: that the
-- trigger keeps, for whoever has no more than the gateway's own role.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

CREATE TABLE reviewer_grant (
  id               text PRIMARY KEY CHECK (id ~ '^[0-9A-HJKMNP-TV-Z]{10}$'),
  -- On which it was given.
  approval         text NOT NULL REFERENCES approval,
  -- Who gave it, as they stood.
  issuer           text NOT NULL,
  subject          text NOT NULL,
  name             text,
  groups           jsonb NOT NULL,
  roles            jsonb NOT NULL,
  assurance        text NOT NULL,
  authenticated_at bigint,
  reason           text,
  -- To whom, and for what.
  principal_key    bytea NOT NULL CHECK (length(principal_key) = 32),
  requester        jsonb NOT NULL,
  upstream         text NOT NULL,
  verb             text NOT NULL,
  resource         text NOT NULL,
  match_key        bytea NOT NULL CHECK (length(match_key) = 32),
  covers           text NOT NULL CHECK (covers IN ('call', 'resource', 'rule')),
  rules            jsonb NOT NULL,
  most_uses        integer NOT NULL CHECK (most_uses > 0),
  given_at         timestamptz NOT NULL,
  until            timestamptz NOT NULL CHECK (until > given_at),
  kid              text NOT NULL,
  mac              bytea NOT NULL,

  -- What became of it.
  uses             integer NOT NULL DEFAULT 0 CHECK (uses BETWEEN 0 AND most_uses),
  revoked_at       timestamptz,
  UNIQUE (approval, issuer, subject)
);
CREATE INDEX reviewer_grant_live ON reviewer_grant (principal_key, until) WHERE revoked_at IS NULL;
CREATE INDEX reviewer_grant_until ON reviewer_grant (until) WHERE revoked_at IS NULL;

CREATE FUNCTION guard_grant() RETURNS trigger LANGUAGE plpgsql SET search_path = countersign, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.uses <> 0 OR NEW.revoked_at IS NOT NULL THEN
      RAISE EXCEPTION 'a grant begins unused' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF to_jsonb(NEW) - '{uses,revoked_at}'::text[] IS DISTINCT FROM to_jsonb(OLD) - '{uses,revoked_at}'::text[] THEN
    RAISE EXCEPTION 'what a grant says never changes' USING ERRCODE = 'check_violation';
  END IF;
  IF NEW.uses NOT IN (OLD.uses, OLD.uses + 1) THEN
    RAISE EXCEPTION 'a grant is used once at a time, and never less' USING ERRCODE = 'check_violation';
  END IF;
  IF OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
    RAISE EXCEPTION 'a revoked grant stays revoked' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER guard BEFORE INSERT OR UPDATE ON reviewer_grant FOR EACH ROW EXECUTE FUNCTION guard_grant();
ALTER TABLE reviewer_grant ENABLE ALWAYS TRIGGER guard;
CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON reviewer_grant EXECUTE FUNCTION refuse_removal();
ALTER TABLE reviewer_grant ENABLE ALWAYS TRIGGER keep;

-- Who has said yes as a reviewer may say it once more in place of the quorum. `via` is part of what a vote's MAC covers.
CREATE OR REPLACE FUNCTION guard_vote() RETURNS trigger LANGUAGE plpgsql SET search_path = countersign, pg_temp AS $$
BEGIN
  IF (NEW.approval, NEW.issuer, NEW.subject) IS DISTINCT FROM (OLD.approval, OLD.issuer, OLD.subject)
     OR OLD.decision <> 'approve'
     OR (NEW.decision <> 'deny' AND (OLD.via LIKE 'override:%' OR NEW.via NOT LIKE 'override:%')) THEN
    RAISE EXCEPTION 'a vote never changes' USING ERRCODE = 'check_violation';
  END IF;
  RETURN NEW;
END $$;

GRANT SELECT, INSERT ON reviewer_grant TO countersign_gateway;
GRANT UPDATE (uses, revoked_at) ON reviewer_grant TO countersign_gateway;

RESET search_path;
RESET ROLE;
