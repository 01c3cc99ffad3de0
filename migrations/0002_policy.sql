-- Published policy sets, and what principals used up of their limits.
SET ROLE countersign_owner;

-- One row a version. `mac` covers everything but the text, which `hash` covers, with a key that the database does not
-- have: a row that something else than a gateway wrote is ignored. The active set is the highest version that is valid.
CREATE TABLE countersign.policy_set (
  version bigint PRIMARY KEY CHECK (version > 0),
  hash text NOT NULL CHECK (hash ~ '^[0-9a-f]{64}$'),
  canonical bytea NOT NULL,
  published_at timestamptz(3) NOT NULL,
  published_by text NOT NULL,
  kid text NOT NULL,
  mac bytea NOT NULL
);
CREATE INDEX policy_set_hash ON countersign.policy_set (hash);

-- What a principal used of one rule's window, in slices of the window. Sums are over the slices that still overlap it.
-- Losing this table forgets what was used; it holds nothing that allows a call by itself.
CREATE TABLE countersign.usage (
  rule text NOT NULL,
  principal_key bytea NOT NULL,
  unit text NOT NULL,
  window_ms bigint NOT NULL,
  bucket timestamptz(3) NOT NULL,
  amount bigint NOT NULL,
  until timestamptz(3) NOT NULL, -- from then on it counts for nothing, and is swept
  PRIMARY KEY (rule, principal_key, unit, window_ms, bucket)
);
CREATE INDEX usage_until ON countersign.usage (until);

GRANT SELECT, INSERT ON countersign.policy_set TO countersign_gateway;
GRANT SELECT ON countersign.policy_set TO countersign_auditor;
GRANT SELECT, INSERT, UPDATE (amount), DELETE ON countersign.usage TO countersign_gateway;

RESET ROLE;
