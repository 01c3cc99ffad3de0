import type { Relay } from '../relay/relay.ts'

/** What a session has set to something else than it began with, by name. */
export type Settings = readonly (readonly [name: string, value: string])[]

/** Everything by its full name: the client's search_path is in force. What a server does not know, it lists nowhere. */
const NOW = `SELECT n.name, pg_catalog.current_setting(n.name, true)
  FROM pg_catalog.unnest($1::pg_catalog.text[]) AS n (name)
    LEFT JOIN pg_catalog.pg_settings s ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) n.name
  WHERE s.name IS NULL OR COALESCE(s.setting, '') OPERATOR(pg_catalog.<>) COALESCE(s.reset_val, '')`

/** Of these names, in lower case, those that are set. Null if it cannot be asked: then the transaction has failed. */
export async function askSettings(relay: Pick<Relay, 'ask'>, names: ReadonlySet<string>): Promise<Settings | null> {
  if (names.size === 0) return []
  const list = [...names].sort().map((name) => `"${name.replace(/["\\]/g, '\\$&')}"`)
  const rows = await relay.ask(NOW, [`{${list.join(',')}}`])
  if (rows === null) return null
  // One of nobody's but the client's is empty after the transaction that it was set for.
  const set = rows.flatMap(([name, value]) => (name && value ? [[name, value] as const] : []))
  return set.sort(([one], [other]) => (one < other ? -1 : 1))
}
