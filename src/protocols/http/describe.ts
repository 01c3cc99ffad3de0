import type { Action } from '../../domain/action.ts'
import type { Json } from '../../domain/json.ts'
import { parseQuery } from '../../transports/http/request-target.ts'
import { parseMediaType } from './body.ts'
import type { RequestModel } from './model.ts'

/**
 * The one action of a request. A batch endpoint, whose body holds requests of its own, is one action like any other:
 * a rule that allows it allows what is inside, unless it reads the body.
 *
 * @param body absent if it was not asked for
 * @returns null if the query is not UTF-8
 */
export function describeRequest(
  model: RequestModel,
  upstream: { readonly name: string; readonly host: string },
  body?: { readonly value: Json },
): Action | null {
  const query = model.query === '' ? NO_QUERY : groupQuery(model.query)
  if (query === null) return null
  return {
    upstream: upstream.name,
    protocol: 'http',
    verb: model.upgrade === null ? model.method : 'UPGRADE',
    resource: resourceOf(model),
    facts: {
      method: model.method,
      path: model.decodedPath,
      query,
      host: upstream.host,
      content_type: parseMediaType(model.contentType ?? undefined).essence,
      // Left out, so that a rule that bounds it fails instead of passing what comes in chunks.
      ...(model.contentLength === null ? {} : { content_length: model.contentLength }),
      upgrade: model.upgrade?.toLowerCase() ?? '',
      ...(body === undefined ? {} : { body: body.value }),
    },
  }
}

/** The path without a slash at its end: most servers take both alike, so that a rule for one has to be one for the other. */
export function resourceOf({ decodedPath }: RequestModel): string {
  return decodedPath.length > 1 && decodedPath.endsWith('/') ? decodedPath.slice(0, -1) : decodedPath
}

const NO_QUERY = {}

function groupQuery(query: string): Record<string, string[]> | null {
  const pairs = parseQuery(query)
  if (pairs === null) return null
  const groups = new Map<string, string[]>()
  for (const [name, value] of pairs) {
    const values = groups.get(name)
    if (values) values.push(value)
    else groups.set(name, [value])
  }
  return Object.fromEntries(groups)
}
