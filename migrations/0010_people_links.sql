-- Which chat account is which person, as that person proved by signing in at both. The row carries a MAC under a key that
-- the database does not hold, and what the person's groups are asked with is encrypted and bound to it: a row that somebody
-- writes or copies makes nobody a reviewer.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

CREATE TABLE chat_link (
  id        uuid PRIMARY KEY,
  service   text NOT NULL,
  team      text NOT NULL,
  account   text NOT NULL,
  issuer    text NOT NULL,
  subject   text NOT NULL,
  linked_at timestamptz NOT NULL,
  sealed    bytea NOT NULL,
  kid       text NOT NULL,
  mac       bytea NOT NULL CHECK (length(mac) = 32),
  -- One replica at a time asks the identity provider, as with sessions.
  asking_until timestamptz,
  UNIQUE (service, team, account),
  UNIQUE (service, team, issuer, subject)
);
CREATE INDEX chat_link_person ON chat_link (issuer, subject);

-- Tickets that were used: each binds once.
CREATE TABLE chat_ticket (
  id_hash bytea PRIMARY KEY CHECK (length(id_hash) = 32),
  ends_at timestamptz NOT NULL
);
CREATE INDEX chat_ticket_end ON chat_ticket (ends_at);

GRANT SELECT, INSERT, DELETE ON chat_link, chat_ticket TO countersign_gateway;
GRANT UPDATE (sealed, asking_until) ON chat_link TO countersign_gateway;

RESET search_path;
RESET ROLE;
