import { z } from 'zod'
import { certificates, duration } from '../platform/setting-kinds.ts'

/** The keys that upstreams of every protocol have. */
export const upstreamOptions = {
  /** A key of its own in paths, policies and entries. Its characters need no escaping anywhere. */
  name: z.string().regex(/^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$/, 'must be lower-case letters, digits, - and _'),
  mode: z
    .enum(['enforce', 'observe'])
    .default('enforce')
    .describe('observe records what policy would say, and lets calls pass'),
  labels: z.record(z.string(), z.string()).default({}).describe('What policy may read of it as upstream.labels'),
  wait: duration.optional().describe('How long a held call waits on its connection; left out: hold.wait'),
  ca: certificates.optional().describe('PEM certificates to trust for it instead of the system’s: ${file:/path}'),
}
