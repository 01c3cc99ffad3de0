import type { Question } from '../relay/question.ts'

/*
 * What the catalog says of relations. Every name and operator is qualified: the client's search_path is in force.
 */

const EQUALS = 'OPERATOR(pg_catalog.=)'
const NAMED = `pg_catalog.unnest($1::pg_catalog.text[]) AS named (name)
  JOIN pg_catalog.pg_class c ON c.oid ${EQUALS} pg_catalog.to_regclass(named.name)`

/** Names of relations, schemas or types as they are in the facts of a statement: qualified, and quoted where they must be. */
export function about(sql: string, names: readonly string[]): Question {
  const array = `{${names.map((name) => `"${name.replace(/["\\]/g, '\\$&')}"`).join(',')}}`
  return { sql, values: [Buffer.from(array)] }
}

/**
 * Relations whose reading may run what is not seen from here: views and foreign tables, tables with rules or with row
 * security.
 */
export const UNSEEN = `SELECT named.name FROM ${NAMED}
  WHERE c.relkind OPERATOR(pg_catalog.<>) ALL ('{r,p,m}'::pg_catalog."char"[])
    OR c.relhasrules OR c.relrowsecurity`

/** Types whose values may be checked by what is not seen from here: all but enumerations. */
export const UNSEEN_TYPES = `SELECT named.name FROM pg_catalog.unnest($1::pg_catalog.text[]) AS named (name)
  LEFT JOIN pg_catalog.pg_type t ON t.oid ${EQUALS} pg_catalog.to_regtype(named.name)::pg_catalog.oid
  WHERE t.oid IS NULL OR t.typtype OPERATOR(pg_catalog.<>) 'e'`

/** What else happens when rows of these tables are deleted: foreign keys that reach further. */
export const CASCADES = `SELECT named.name, k.conrelid::pg_catalog.regclass::pg_catalog.text
  FROM ${NAMED} JOIN pg_catalog.pg_constraint k ON k.confrelid ${EQUALS} c.oid
  WHERE k.contype ${EQUALS} 'f' AND k.confdeltype ${EQUALS} ANY ('{c,n,d}'::pg_catalog."char"[])
  ORDER BY 1, 2 LIMIT 20`

export const TRIGGERS = `SELECT named.name, t.tgname::pg_catalog.text
  FROM ${NAMED} JOIN pg_catalog.pg_trigger t ON t.tgrelid ${EQUALS} c.oid
  WHERE NOT t.tgisinternal AND t.tgenabled OPERATOR(pg_catalog.<>) 'D' ORDER BY 1, 2 LIMIT 20`

/** What a relation is, about how many rows it has (null if nobody looked), and the room it takes. */
export const SIZES = `SELECT named.name, c.relkind::pg_catalog.text,
    CASE WHEN c.reltuples OPERATOR(pg_catalog.>=) 0 THEN c.reltuples::pg_catalog.int8::pg_catalog.text END,
    pg_catalog.pg_size_pretty(pg_catalog.pg_total_relation_size(c.oid))
  FROM ${NAMED} ORDER BY 1 LIMIT 20`

/** What depends on a relation and is no part of it. A view depends by its rule. */
export const DEPENDANTS = `SELECT DISTINCT named.name, CASE WHEN r.oid IS NULL
      THEN pg_catalog.pg_describe_object(d.classid, d.objid, d.objsubid)
      ELSE pg_catalog.pg_describe_object('pg_catalog.pg_class'::pg_catalog.regclass, r.ev_class, 0) END
  FROM ${NAMED}
  JOIN pg_catalog.pg_depend d ON d.refobjid ${EQUALS} c.oid
    AND d.refclassid ${EQUALS} 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype ${EQUALS} 'n'
  LEFT JOIN pg_catalog.pg_rewrite r ON r.oid ${EQUALS} d.objid
    AND d.classid ${EQUALS} 'pg_catalog.pg_rewrite'::pg_catalog.regclass
  WHERE r.oid IS NULL OR r.ev_class OPERATOR(pg_catalog.<>) c.oid ORDER BY 1, 2 LIMIT 21`

/** What a schema holds. */
export const CONTENTS = `SELECT named.name, pg_catalog.count(*)::pg_catalog.text,
    pg_catalog.pg_size_pretty(pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid)))
  FROM pg_catalog.unnest($1::pg_catalog.text[]) AS named (name)
  JOIN pg_catalog.pg_class c ON c.relnamespace ${EQUALS} pg_catalog.to_regnamespace(named.name)
    AND c.relkind ${EQUALS} ANY ('{r,p,m,v,f,S}'::pg_catalog."char"[])
  GROUP BY 1 ORDER BY 1 LIMIT 20`
