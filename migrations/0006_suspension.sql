-- Agents as they were last seen, for the people who may have to stop one: no page scans the log for that. Gateways add
-- to it every second; what one had counted when it was killed is missing, and the log is the record.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

CREATE TABLE agent (
  issuer  text NOT NULL,
  subject text NOT NULL,
  seen_at timestamptz NOT NULL,
  PRIMARY KEY (issuer, subject)
);
CREATE INDEX agent_seen ON agent (seen_at);

-- With whom an agent was seen: one row a principal. `parties` is its closure, as `issuer|subject`: nobody in it resumes
-- any of the others.
CREATE TABLE agent_closure (
  principal_key bytea PRIMARY KEY CHECK (length(principal_key) = 32),
  issuer        text NOT NULL,
  subject       text NOT NULL,
  parties       text[] NOT NULL,
  seen_at       timestamptz NOT NULL
);
CREATE INDEX agent_closure_parties ON agent_closure USING gin (parties);
CREATE INDEX agent_closure_seen ON agent_closure (seen_at);

-- Calls by hour; kept for a day.
CREATE TABLE agent_hour (
  issuer  text NOT NULL,
  subject text NOT NULL,
  hour    timestamptz NOT NULL,
  calls   bigint NOT NULL,
  holds   bigint NOT NULL,
  denials bigint NOT NULL,
  PRIMARY KEY (issuer, subject, hour)
);
CREATE INDEX agent_hour_hour ON agent_hour (hour);

GRANT SELECT, INSERT, DELETE ON agent, agent_closure, agent_hour TO countersign_gateway;
GRANT UPDATE (seen_at) ON agent, agent_closure TO countersign_gateway;
GRANT UPDATE (calls, holds, denials) ON agent_hour TO countersign_gateway;

RESET search_path;
RESET ROLE;
