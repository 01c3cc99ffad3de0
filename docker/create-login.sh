#!/bin/sh
# Run by the Postgres image when its database is created: the gateway's login, which owns nothing. `countersign migrate`
# gives it what a gateway needs.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$(cat /run/secrets/database/login_password)" \
  --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE countersign_login LOGIN PASSWORD :'password';
REVOKE TEMPORARY ON DATABASE countersign FROM PUBLIC;
SQL
