import type { Stored } from '../../domain/call.ts'
import type { JsonObject } from '../../domain/json.ts'

/** A request as the gateway understood it. Everything that is judged, shown, bound and sent comes from it. */
export interface RequestModel {
  readonly method: string
  /** Normalised, under the upstream: begins with a slash. */
  readonly path: string
  readonly decodedPath: string
  /** Normalised, without its question mark. */
  readonly query: string
  /** Flat lower-case names and values, as they are forwarded. */
  readonly headers: readonly string[]
  readonly contentType: string | null
  readonly contentEncoding: string | null
  /** Bytes of the body; null if it comes in chunks. */
  readonly contentLength: number | null
  /** The protocol of an upgrade, as it is sent upstream; null for other requests. */
  readonly upgrade: string | null
}

/** The form in which a held call waits. The body lies beside it. */
export function storeModel(model: RequestModel): JsonObject {
  return {
    version: 1,
    method: model.method,
    path: model.path,
    decodedPath: model.decodedPath,
    query: model.query,
    headers: model.headers,
    contentType: model.contentType,
    contentEncoding: model.contentEncoding,
    upgrade: model.upgrade,
  }
}

/** Null if it is of another version: what was stored by a newer gateway is not guessed at. */
export function restoreModel({ head, body }: Stored): RequestModel | null {
  const { version, method, path, decodedPath, query, headers, contentType, contentEncoding, upgrade } = head
  if (version !== 1 || !Array.isArray(headers) || !headers.every((each) => typeof each === 'string')) return null
  if (![method, path, decodedPath, query].every((each) => typeof each === 'string')) return null
  return {
    method: String(method),
    path: String(path),
    decodedPath: String(decodedPath),
    query: String(query),
    headers,
    contentType: typeof contentType === 'string' ? contentType : null,
    contentEncoding: typeof contentEncoding === 'string' ? contentEncoding : null,
    contentLength: body.length,
    upgrade: typeof upgrade === 'string' ? upgrade : null,
  }
}
