import type { FactSchema } from '../../../domain/action.ts'

/** What policy may read of a statement, besides verb and resource. Every action of a statement has the same facts. */
export const statementFacts = {
  tables: {
    type: 'list<string>',
    doc: 'Every relation it touches, as schema.name, in every schema the name may mean.',
  },
  schemas: { type: 'list<string>', doc: 'The schemas of its relations and types.' },
  functions: { type: 'list<string>', doc: 'Every function it calls or defines, as schema.name.' },
  columns: { type: 'list<string>', doc: 'Names of the columns it states; "*" where it takes whole rows.' },
  roles: { type: 'list<string>', doc: 'Roles it names.' },
  languages: { type: 'list<string>', doc: 'Languages it runs or defines code in.' },
  files: { type: 'list<string>', doc: "Files of the server's machine it names." },
  secrets: {
    type: 'list<string>',
    doc: 'Those of its relations that hold secrets: some of pg_catalog and information_schema, and pg_stat_statements.',
  },
  copy_program: {
    type: 'string',
    doc: "The command of COPY … PROGRAM, run on the server's machine; empty for others.",
  },
  has_where: {
    type: 'bool',
    doc: 'Whether each UPDATE and DELETE of it (or else the query) has a condition that reads a column and is not true by its shape.',
  },
  in_transaction: { type: 'bool', doc: 'Whether a transaction block is open before it.' },
  is_ddl: { type: 'bool', doc: 'Whether it defines, alters or drops something, or grants or revokes.' },
  writes: {
    type: 'bool',
    doc: 'Whether it may change anything but its session: also if it calls a function that is not known only to read.',
  },
  rows: {
    type: 'int',
    need: 'rows',
    doc: 'How many rows the INSERT, UPDATE or DELETE would touch, counted before it runs; missing if that cannot be told.',
  },
  statement: { type: 'string', doc: 'Its text.' },
  application_name: { type: 'string', doc: 'What the client calls itself: its claim.' },
  database: { type: 'string', doc: 'The database.' },
  user: { type: 'string', doc: 'The role the client asked for; empty if it logged in with a minted credential.' },
} as const satisfies FactSchema
