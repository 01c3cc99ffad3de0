-- People who are signed in with a browser. The cookie holds a secret of which only the hash is kept; who it is, and what
-- their groups are asked with, is encrypted with a key that the database does not hold, and bound to that hash: a row
-- that somebody writes or copies signs nobody in.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

CREATE TABLE session (
  id_hash    bytea PRIMARY KEY CHECK (length(id_hash) = 32),
  -- SHA-256 of issuer and subject: to end all sessions of a person without naming them.
  person_key bytea NOT NULL CHECK (length(person_key) = 32),
  sealed     bytea NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  ends_at    timestamptz NOT NULL CHECK (ends_at > started_at),
  -- One replica at a time asks the identity provider again: many take a refresh token that comes twice for a stolen one.
  asking_until timestamptz
);
CREATE INDEX session_person ON session (person_key, started_at);
CREATE INDEX session_end ON session (ends_at);

GRANT SELECT, INSERT, DELETE ON session TO countersign_gateway;
GRANT UPDATE (sealed, seen_at, asking_until) ON session TO countersign_gateway;

RESET search_path;
RESET ROLE;
