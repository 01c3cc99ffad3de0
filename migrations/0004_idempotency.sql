-- Idempotency keys, and what channels were owed, are forgotten some time after the end of the approval they belong to.
-- Approvals, votes and the log stay.
SET ROLE countersign_owner;
SET search_path = countersign, pg_temp;

-- The oldest are looked at first. What is there already counts from now on.
ALTER TABLE idempotency ADD COLUMN noted_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE idempotency ALTER COLUMN noted_at SET DEFAULT clock_timestamp();
CREATE INDEX idempotency_noted ON idempotency (noted_at);

ALTER TABLE conversation ADD COLUMN begun_at timestamptz NOT NULL DEFAULT now();
ALTER TABLE conversation ALTER COLUMN begun_at SET DEFAULT clock_timestamp();
CREATE INDEX conversation_begun ON conversation (begun_at);

CREATE INDEX outbox_created ON outbox (created_at);
CREATE INDEX outbox_conversation ON outbox (conversation, channel);

-- A row less of these lets nothing pass. Without its key a call that is made again asks people again, who are told that
-- it was done before; without the others channels are not told, or the outcome of a call is not written. The role could
-- do as much already, as it may update all four.
GRANT DELETE ON idempotency, conversation, outbox, replica TO countersign_gateway;

RESET search_path;
RESET ROLE;
