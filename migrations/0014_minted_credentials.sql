-- User names that were minted for agents whose clients cannot renew a token. The password is nowhere: it is derived from
-- the row with a key that the database does not hold, so that a row that somebody writes or changes opens nothing. For whom
-- it is, is encrypted and bound to it.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

CREATE TABLE minted_credential (
  id            text PRIMARY KEY CHECK (id ~ '^[0-9a-hjkmnp-tv-z]{20}$'),
  upstream      text NOT NULL,
  -- Counts how many one principal has.
  principal_key bytea NOT NULL CHECK (length(principal_key) = 32),
  sealed        bytea NOT NULL,
  kid           text NOT NULL,
  ends_at       timestamptz NOT NULL CHECK (isfinite(ends_at))
);
CREATE INDEX minted_credential_principal ON minted_credential (principal_key, ends_at);
CREATE INDEX minted_credential_end ON minted_credential (ends_at);
GRANT SELECT, INSERT, DELETE ON minted_credential TO countersign_gateway;

RESET search_path;
RESET ROLE;
