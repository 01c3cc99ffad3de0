import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Database, openDatabase } from '../../src/platform/database.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { migrate } from '../../src/platform/migrations.ts'
import { assertLeastPrivilege } from '../../src/platform/privileges.ts'
import { createEmptyDatabase, createTestDatabase, type TestDatabase } from '../postgres.ts'

const log = createLogger({ level: 'silent' })

// Tables of our own with the names that count, so that what is tested here does not change with the log's schema.
const TABLES = `
  SET ROLE countersign_owner;
  CREATE TABLE countersign.audit_entry (seq bigint, body bytea) PARTITION BY RANGE (seq);
  CREATE TABLE countersign.audit_entry_1 PARTITION OF countersign.audit_entry FOR VALUES FROM (0) TO (10);
  CREATE TABLE countersign.first_part PARTITION OF countersign.audit_entry FOR VALUES FROM (10) TO (20);
  CREATE TABLE countersign.audit_personal (value text);
  CREATE TABLE countersign.audit_head (seq bigint);
  CREATE VIEW countersign.audit_log AS SELECT seq FROM countersign.audit_head;
  RESET ROLE`

/** What is granted to a login, and what the refusal says of it. LOGIN and GROUP stand for roles of this test. */
const REFUSED: Readonly<Record<string, { grant: string; says: string }>> = {
  'a superuser': { grant: 'ALTER ROLE LOGIN_ SUPERUSER', says: 'superuser' },
  'a member of a superuser': { grant: 'ALTER ROLE GROUP_ SUPERUSER; GRANT GROUP_ TO LOGIN_', says: 'superuser' },
  'a member of the owner': { grant: 'GRANT countersign_owner TO LOGIN_', says: 'countersign_owner' },
  'a member of the owner that can only SET ROLE': {
    grant: 'GRANT countersign_owner TO LOGIN_ WITH INHERIT FALSE, SET TRUE',
    says: 'countersign_owner',
  },
  'a member of the owner that can only grant it on': {
    grant: 'GRANT countersign_owner TO LOGIN_ WITH ADMIN TRUE, INHERIT FALSE, SET FALSE',
    says: 'countersign_owner',
  },
  'a member of a member of the owner': {
    grant: 'GRANT countersign_owner TO GROUP_; GRANT GROUP_ TO LOGIN_ WITH INHERIT FALSE',
    says: 'countersign_owner',
  },
  'one that bypasses row security': { grant: 'ALTER ROLE LOGIN_ BYPASSRLS', says: 'BYPASSRLS' },
  'one that may replicate': { grant: 'ALTER ROLE LOGIN_ REPLICATION', says: 'REPLICATION' },
  'one that may create roles': { grant: 'ALTER ROLE LOGIN_ CREATEROLE', says: 'CREATEROLE' },
  'one that may write all data': { grant: 'GRANT pg_write_all_data TO LOGIN_', says: 'pg_write_all_data' },
  'one that may run programs': {
    grant: 'GRANT pg_execute_server_program TO LOGIN_',
    says: 'pg_execute_server_program',
  },
  'one that may insert into the log': {
    grant: 'GRANT INSERT ON countersign.audit_entry TO LOGIN_',
    says: 'audit_entry',
  },
  'one that may update a column of the log': {
    grant: 'GRANT UPDATE (body) ON countersign.audit_entry TO LOGIN_',
    says: 'audit_entry',
  },
  'one that may delete from a partition': {
    grant: 'GRANT DELETE ON countersign.audit_entry_1 TO LOGIN_',
    says: 'audit_entry_1',
  },
  'one that may truncate a partition of another name': {
    grant: 'GRANT TRUNCATE ON countersign.first_part TO LOGIN_',
    says: 'first_part',
  },
  'one that may write the head through a view': {
    grant: 'GRANT UPDATE ON countersign.audit_log TO LOGIN_',
    says: 'audit_log',
  },
  'one that may move the head': { grant: 'GRANT UPDATE ON countersign.audit_head TO LOGIN_', says: 'audit_head' },
  'one that may do so as another role': {
    grant: 'GRANT UPDATE ON countersign.audit_head TO GROUP_; GRANT GROUP_ TO LOGIN_ WITH INHERIT FALSE',
    says: 'audit_head',
  },
  'one that may delete personal values, as everybody may': {
    grant: 'GRANT DELETE ON countersign.audit_personal TO PUBLIC',
    says: 'audit_personal',
  },
  'one that may silence triggers': {
    grant: 'GRANT SET ON PARAMETER session_replication_role TO LOGIN_',
    says: 'session_replication_role',
  },
  'one that owns the database': { grant: 'ALTER DATABASE DATABASE_ OWNER TO LOGIN_', says: 'owns the database' },
  'one that owns a table of ours': {
    grant: 'CREATE TABLE countersign.other (id int); ALTER TABLE countersign.other OWNER TO LOGIN_',
    says: 'owns other',
  },
}

describe('assertLeastPrivilege', () => {
  let store: TestDatabase
  let admin: Database

  beforeAll(async () => {
    store = await createEmptyDatabase()
    admin = openDatabase({ url: store.adminUrl, log })
    await migrate({ adminUrl: store.adminUrl, log, directory: import.meta.dirname })
    await admin.query(TABLES)
  })

  afterAll(async () => {
    await admin.close()
    await store.close()
  })

  async function withLogin(grant: string, work: (database: Database) => Promise<void>): Promise<void> {
    const name = `t_${randomBytes(6).toString('hex')}`
    const databaseName = new URL(store.adminUrl).pathname.slice(1)
    await admin.query(`CREATE ROLE login_${name} LOGIN PASSWORD 'secret'; CREATE ROLE group_${name} NOLOGIN;
      GRANT countersign_gateway TO login_${name}`)
    const database = openDatabase({ url: store.adminUrl.replace(/\/\/[^@]+@/, `//login_${name}:secret@`), log })
    try {
      const sql = grant.replaceAll('LOGIN_', `login_${name}`).replaceAll('GROUP_', `group_${name}`)
      await admin.query(sql.replaceAll('DATABASE_', databaseName))
      await work(database)
    } finally {
      await database.close()
      await admin.query(`REVOKE ALL ON countersign.audit_personal FROM PUBLIC;
        ALTER DATABASE ${databaseName} OWNER TO CURRENT_USER;
        DROP OWNED BY login_${name}, group_${name}; DROP ROLE login_${name}, group_${name}`)
    }
  }

  it('accepts a login that is only a member of countersign_gateway', async () => {
    await withLogin('GRANT SELECT ON ALL TABLES IN SCHEMA countersign TO LOGIN_', (database) =>
      assertLeastPrivilege(database),
    )
  })

  for (const [who, { grant, says }] of Object.entries(REFUSED)) {
    it(`refuses ${who}`, async () => {
      await withLogin(grant, async (database) => {
        const refusal = await assertLeastPrivilege(database).catch((error: unknown) => error)
        expect(refusal).toMatchObject({ code: 'config', message: expect.stringContaining(says) })
        expect(refusal).toMatchObject({ message: expect.not.stringContaining('\n') })
      })
    })
  }

  it('refuses the administrator', async () => {
    await expect(assertLeastPrivilege(admin)).rejects.toMatchObject({ code: 'config' })
  })
})

it('accepts the gateway login with the schema that ships', async () => {
  const store = await createTestDatabase()
  try {
    await assertLeastPrivilege(store.database)
  } finally {
    await store.close()
  }
})
