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

-- Tickets and challenges that were used: each is good once.
CREATE TABLE used_ticket (
  id_hash bytea PRIMARY KEY CHECK (length(id_hash) = 32),
  ends_at timestamptz NOT NULL
);
CREATE INDEX used_ticket_end ON used_ticket (ends_at);

-- Passkeys of people, for votes that a rule asks one for; with a MAC, over the counter too.
CREATE TABLE passkey (
  id            uuid PRIMARY KEY,
  credential_id bytea NOT NULL UNIQUE CHECK (length(credential_id) BETWEEN 1 AND 1023),
  issuer        text NOT NULL,
  subject       text NOT NULL,
  name          text NOT NULL,
  public_key    bytea NOT NULL,
  counter       bigint NOT NULL,
  added_at      timestamptz NOT NULL,
  used_at       timestamptz,
  kid           text NOT NULL,
  mac           bytea NOT NULL CHECK (length(mac) = 32)
);
CREATE INDEX passkey_person ON passkey (issuer, subject);

GRANT SELECT, INSERT, DELETE ON chat_link, used_ticket, passkey TO countersign_gateway;
GRANT UPDATE (sealed, asking_until) ON chat_link TO countersign_gateway;
GRANT UPDATE (counter, used_at, kid, mac) ON passkey TO countersign_gateway;

RESET search_path;
RESET ROLE;
