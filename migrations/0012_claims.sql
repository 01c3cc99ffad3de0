-- Who says that they are looking at an approval, for the others to see; and what finds the decisions on the same call
-- before. A claim gives no right and takes none: who writes one delays people at most. It carries a MAC all the same, so
-- that nobody is named who did not say so.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

CREATE TABLE claim (
  approval text PRIMARY KEY REFERENCES approval,
  issuer   text NOT NULL,
  subject  text NOT NULL,
  name     text,
  via      text NOT NULL,
  at       timestamptz NOT NULL,
  until    timestamptz NOT NULL CHECK (until > at),
  kid      text NOT NULL,
  mac      bytea NOT NULL CHECK (length(mac) = 32)
);
CREATE INDEX claim_until ON claim (until);
GRANT SELECT, INSERT, UPDATE, DELETE ON claim TO countersign_gateway;

-- A resource may be longer than an index takes: its hash finds the rows, which are then compared. With the key of its
-- card an approval leaves the index.
CREATE INDEX approval_precedent ON approval
  (principal_key, hashtextextended(upstream || ' ' || verb || ' ' || resource, 0), state, decided_at)
  WHERE wrapped_key IS NOT NULL;

RESET search_path;
RESET ROLE;
