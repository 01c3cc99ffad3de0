import { parseQualified } from '../../../domain/qualified.ts'
import { formatMask, type Mask } from '../../../domain/verdict.ts'
import { qualify, schemaName } from '../naming/identifier.ts'
import { SECRET } from '../naming/secret.ts'
import type { Relay } from '../relay/relay.ts'
import { arrayOf } from './holders.ts'

/** Where masked columns are, as the upstream's catalog says. */
export interface Hidden {
  /** By the number of the relation, the places in it. */
  readonly columns: ReadonlyMap<number, ReadonlySet<number>>
  /** What the columns are called, in any relation that has them. */
  readonly names: ReadonlySet<string>
  /** The relations that have them, qualified as facts are. */
  readonly relations: ReadonlySet<string>
  /** Of the relations that were asked about, by their numbers. A result holds columns of no others. */
  readonly known: ReadonlySet<number>
  /** Those that read such a column on their own account, or call what cannot be seen. */
  readonly readers: ReadonlySet<string>
  /** Those that cannot be written without writing to a relation that has such a column, or being compared with it. */
  readonly writers: ReadonlySet<string>
  /** The masks that stand for no column, as rules write them. */
  readonly missing: readonly string[]
}

/** Everything by its full name: the client's search_path is in force. */
const EQ = 'OPERATOR(pg_catalog.=)'
const NAMES = (...numbers: readonly number[]) =>
  `ROWS FROM (${numbers.map((number) => `pg_catalog.unnest($${number}::pg_catalog.name[])`).join(', ')})`
const CLASS = "'pg_catalog.pg_class'::pg_catalog.regclass"
/** Functions and operators below are the server's own (FirstNormalObjectId). */
const FIRST_USERS = '16384::pg_catalog.oid'

/** The server expects a hundred times more of a recursion than there is, and would read whole catalogs. */
const BY_INDEX = 'OFFSET 0'
const CASCADES = `'{c,n,d}'::pg_catalog."char"[]`

/**
 * A column is hidden wherever its rows are read: in what inherits from its relation and in what that inherits from (the
 * partitions of a table and those it is one of), under the same name; and in columns that are generated from it.
 *
 * A view, or a rule, reads it if its definition depends on it, through however many others. A whole row (`varattno 0`)
 * depends on no column that could be told. A view writes to what it is made of, a table to those that inherit from it,
 * and whatever a foreign key refers to writes to where that stands, if the key says so (`c`, `n`, `d`: CASCADE, SET NULL,
 * SET DEFAULT). A foreign key that refers to the column tells of what is written whether it is there; and one of the
 * column itself tells of what it refers to, by what cannot be taken away, whether the column has it.
 */
const QUESTION = `WITH RECURSIVE masked AS (
  SELECT c.oid AS relation, m.attribute FROM ${NAMES(1, 2, 3)} AS m (schema, relation, attribute)
    JOIN pg_catalog.pg_namespace n ON n.nspname ${EQ} m.schema
    JOIN pg_catalog.pg_class c ON c.relnamespace ${EQ} n.oid AND c.relname ${EQ} m.relation
), below AS (
  SELECT relation, attribute FROM masked
  UNION SELECT i.inhrelid, b.attribute FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent ${EQ} b.relation
), kin AS (
  SELECT relation, attribute FROM below
  UNION SELECT i.inhparent, k.attribute FROM kin k JOIN pg_catalog.pg_inherits i ON i.inhrelid ${EQ} k.relation
), stated AS (
  SELECT k.relation, a.attnum FROM kin k CROSS JOIN LATERAL (SELECT a.attnum FROM pg_catalog.pg_attribute a
    WHERE a.attrelid ${EQ} k.relation AND a.attname ${EQ} k.attribute AND NOT a.attisdropped ${BY_INDEX}) a
), hidden AS (
  SELECT relation, attnum FROM stated
  UNION SELECT g.adrelid, g.adnum FROM stated s CROSS JOIN LATERAL (SELECT d.* FROM pg_catalog.pg_depend d
      WHERE d.refclassid ${EQ} ${CLASS} AND d.refobjid ${EQ} s.relation AND d.refobjsubid ${EQ} s.attnum ${BY_INDEX}) d
    JOIN pg_catalog.pg_attrdef g ON g.adrelid ${EQ} s.relation
      AND (d.objid ${EQ} g.oid AND d.classid ${EQ} 'pg_catalog.pg_attrdef'::pg_catalog.regclass
        OR d.objid ${EQ} s.relation AND d.classid ${EQ} ${CLASS} AND d.objsubid ${EQ} g.adnum)
), touched AS (
  SELECT c.oid AS relation FROM ${NAMES(4, 5)} AS t (schema, name)
    JOIN pg_catalog.pg_namespace n ON n.nspname ${EQ} t.schema
      OR (t.schema ${EQ} 'pg_temp' AND n.oid ${EQ} pg_catalog.pg_my_temp_schema())
    JOIN pg_catalog.pg_class c ON c.relnamespace ${EQ} n.oid AND c.relname ${EQ} t.name
), rules AS NOT MATERIALIZED (
  SELECT r.ev_class AS relation, r.ev_action, d.refclassid, d.refobjid, d.refobjsubid
  FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d
    ON d.objid ${EQ} r.oid AND d.classid ${EQ} 'pg_catalog.pg_rewrite'::pg_catalog.regclass
    AND d.refobjid OPERATOR(pg_catalog.<>) r.ev_class
), beneath AS (
  SELECT relation AS root, relation FROM touched
  UNION SELECT b.root, d.relation FROM beneath b CROSS JOIN LATERAL (
    SELECT r.refobjid FROM rules r WHERE r.relation ${EQ} b.relation AND r.refclassid ${EQ} ${CLASS}
    UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i WHERE i.inhparent ${EQ} b.relation
  ) AS d (relation)
), readers AS (
  SELECT b.root AS relation FROM beneath b
    CROSS JOIN LATERAL (SELECT r.* FROM rules r WHERE r.relation ${EQ} b.relation ${BY_INDEX}) r
  WHERE r.refclassid ${EQ} ${CLASS} AND EXISTS (
      SELECT FROM hidden h WHERE h.relation ${EQ} r.refobjid AND (h.attnum ${EQ} r.refobjsubid
        OR pg_catalog.strpos(r.ev_action::pg_catalog.text, ':varattno 0 ') OPERATOR(pg_catalog.>) 0))
    OR r.refclassid ${EQ} ${CLASS} AND EXISTS (
      SELECT FROM pg_catalog.pg_class c WHERE c.oid ${EQ} r.refobjid AND c.relname ${EQ} ANY ($6::pg_catalog.name[])
        AND c.relnamespace ${EQ} 'pg_catalog'::pg_catalog.regnamespace)
    OR r.refclassid ${EQ} ANY ('{pg_catalog.pg_proc,pg_catalog.pg_operator}'::pg_catalog.regclass[])
      AND r.refobjid OPERATOR(pg_catalog.>=) ${FIRST_USERS}
), written AS (
  SELECT relation FROM hidden
  UNION SELECT k.confrelid FROM hidden h JOIN pg_catalog.pg_constraint k ON k.conrelid ${EQ} h.relation
    AND h.attnum ${EQ} ANY (k.conkey)
  UNION SELECT k.confrelid FROM written w JOIN pg_catalog.pg_constraint k ON k.conrelid ${EQ} w.relation
    AND (k.confdeltype ${EQ} ANY (${CASCADES}) OR k.confupdtype ${EQ} ANY (${CASCADES}))
), answers AS (
  SELECT 'column' AS what, h.relation, h.attnum FROM hidden h
  UNION ALL SELECT 'known', t.relation, NULL FROM touched t
  UNION ALL SELECT 'reader', r.relation, NULL FROM readers r
  UNION ALL SELECT 'writer', b.root, NULL FROM beneath b JOIN written w ON w.relation ${EQ} b.relation
  UNION ALL SELECT 'writer', b.root, NULL FROM beneath b JOIN pg_catalog.pg_constraint k ON k.conrelid ${EQ} b.relation
    JOIN hidden h ON h.relation ${EQ} k.confrelid AND h.attnum ${EQ} ANY (k.confkey)
)
SELECT w.what, c.nspname, c.relname, w.relation, w.attnum, (
    SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid ${EQ} w.relation AND a.attnum ${EQ} w.attnum)
  FROM (SELECT DISTINCT * FROM answers) w CROSS JOIN LATERAL (
    SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid ${EQ} c.relnamespace WHERE c.oid ${EQ} w.relation ${BY_INDEX}) c`

/**
 * Where masked columns are, and which of these relations show more than they have. Null if it cannot be told now.
 *
 * @param tables qualified, as facts have them
 * @throws SessionOver
 */
export type AskHidden = (masks: readonly Mask[], tables: readonly string[]) => Promise<Hidden | null>

/** Asks it of the upstream. */
export function askHidden(relay: Pick<Relay, 'ask'>): AskHidden {
  return (masks, tables) => ask(relay, masks, tables)
}

async function ask(
  relay: Pick<Relay, 'ask'>,
  masks: readonly Mask[],
  tables: readonly string[],
): Promise<Hidden | null> {
  const touched = tables.map(parseQualified)
  // A name that only an escape can write: nobody's, but for who wants it not to be read.
  if (touched.some((name) => name?.length !== 2)) return null
  const rows = await relay.ask(QUESTION, [
    arrayOf(masks.map(({ schema }) => schema)),
    arrayOf(masks.map(({ relation }) => relation)),
    arrayOf(masks.map(({ column }) => column)),
    arrayOf(touched.map((name) => name?.[0] ?? '')),
    arrayOf(touched.map((name) => name?.[1] ?? '')),
    arrayOf([...SECRET]),
  ])
  if (rows === null) return null
  const columns = new Map<number, Set<number>>()
  const known = new Set<number>()
  const [names, relations, readers, writers] = [
    new Set<string>(),
    new Set<string>(),
    new Set<string>(),
    new Set<string>(),
  ]
  const found = new Set<string>()
  for (const [what, schema, relation, number, place, column] of rows) {
    const name = qualify(schemaName(schema ?? ''), relation ?? '')
    known.add(Number(number))
    if (what === 'reader') readers.add(name)
    else if (what === 'writer') writers.add(name)
    else if (what === 'column') {
      const places = columns.get(Number(number)) ?? new Set()
      columns.set(Number(number), places.add(Number(place)))
      relations.add(name)
      names.add(column ?? '')
      found.add(formatMask({ schema: schema ?? '', relation: relation ?? '', column: column ?? '' }))
    }
  }
  const missing = masks.flatMap((mask) => (found.has(formatMask(mask)) ? [] : [formatMask(mask)]))
  return { columns, names, relations, known, readers, writers, missing }
}
