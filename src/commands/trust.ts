import { openLane } from '../approvals/lane.ts'
import type { AuditLog } from '../audit/log.ts'
import type { Config } from '../config.ts'
import type { Credential } from '../domain/call.ts'
import { GatewayError } from '../domain/error.ts'
import type { Principal } from '../domain/principal.ts'
import { isRefusal, type Refusal } from '../domain/refusal.ts'
import { createAgents } from '../identity/agents.ts'
import { type ChatLinks, createChatLinks } from '../identity/chat-links.ts'
import { createFrontDesk, type FrontDesk } from '../identity/front-desk.ts'
import { createMinted, type LoginChallenge, type MintedCredential } from '../identity/minted.ts'
import { mintedLifetime } from '../identity/options.ts'
import { createPasskeys, hasPasskeys, type Passkeys } from '../identity/passkeys.ts'
import { createPeople, type People } from '../identity/people.ts'
import { createRefusalTally, type RefusalTally } from '../identity/refused-tokens.ts'
import { createSessions } from '../identity/sessions.ts'
import { createSignIns } from '../identity/sign-in.ts'
import { createSuspensions, type Suspensions } from '../identity/suspensions.ts'
import type { Ground } from './ground.ts'
import { orUnavailable } from './unavailable.ts'

/** Who calls, who may vote, who is stopped. */
export interface Trust {
  identify(credential: Credential, source: string): Promise<Principal | Refusal>
  /** See `Minted`. */
  mint(principal: Principal, upstream: string): Promise<MintedCredential | Refusal>
  challenge(
    user: string,
    how: { readonly upstream: string; readonly source: string },
  ): Promise<LoginChallenge | Refusal>
  readonly people: People
  readonly suspensions: Suspensions
  /** Null if nobody can sign in. */
  readonly frontDesk: (FrontDesk & { readonly lifetimeMs: number }) | null
  /** Null likewise. */
  readonly chatLinks: ChatLinks | null
  /** Null also where browsers make none. */
  readonly passkeys: Passkeys | null
  readonly tally: RefusalTally
}

/** @throws GatewayError `config` if an issuer turns out to be one whose subjects cannot be told apart. */
export async function startTrust(
  config: Config,
  ground: Ground,
  audit: Pick<AuditLog, 'append' | 'within'>,
): Promise<Trust> {
  const { database, clock, log, metrics, undo } = ground
  const suspensions = createSuspensions({ database, clock, log })
  await suspensions.start()
  undo.defer(() => suspensions.stop())
  const agents = createAgents({ issuers: config.agent_issuers, people: config.people, clock, log, metrics })
  undo.defer(() => agents.close())
  const people = createPeople({ issuers: config.people, clock, log })
  undo.defer(() => people.close())
  const tally = createRefusalTally({ append: (entry) => audit.append(entry), clock, log })
  undo.defer(() => tally.close())

  const minted = openMinted(config, ground, { suspensions, tally, audit })

  const faults = (await Promise.all([agents.probe(), people.probe()])).flat()
  if (faults.length > 0) throw new GatewayError('config', faults.join('\n'))
  const signingIn = config.people.length === 0 ? null : openFrontDesk(config, ground, { people, audit })
  return {
    ...minted,
    people,
    suspensions,
    frontDesk: signingIn?.frontDesk ?? null,
    chatLinks: signingIn?.chatLinks ?? null,
    passkeys: signingIn?.passkeys ?? null,
    tally,
    async identify(credential, source) {
      const principal = await agents.identify(credential)
      if (isRefusal(principal)) tally.count('token_refused', source, principal.challenge?.description ?? principal.code)
      return principal
    },
  }
}

const SWEEP_MS = 10 * 60_000
/** Connections to the store for clients that have not proved who they are. */
const LOOKUPS_AT_ONCE = 2

function openMinted(
  config: Config,
  ground: Ground,
  { suspensions, tally, audit }: Pick<Trust, 'suspensions' | 'tally'> & { audit: Pick<AuditLog, 'within'> },
): Pick<Trust, 'mint' | 'challenge'> {
  const { database, keys, clock, log, metrics, undo } = ground
  const { credentials } = config.gateway
  const minted = createMinted({
    ...{ database, keys, clock, within: audit.within, isSuspended: suspensions.isSuspended },
    lookups: openLane(database, { atOnce: LOOKUPS_AT_ONCE }),
    options: {
      lifetimeMs: mintedLifetime(credentials, config.session_max),
      mostOfOne: credentials.per_principal,
    },
    isTrusted: (issuer) => config.agent_issuers.some((one) => one.issuer === issuer),
    onRefused(source) {
      metrics.tokensRefused.inc({ reason: 'minted' })
      tally.count('token_refused', source, 'user name and password are not accepted')
    },
  })
  const sweeping = setInterval(() => {
    minted
      .sweep()
      .catch((error: unknown) => log.warn({ err: error }, 'what was minted and ended could not be forgotten'))
  }, SWEEP_MS)
  undo.defer(() => clearInterval(sweeping))
  return { mint: orUnavailable(log, minted.mint), challenge: orUnavailable(log, minted.challenge) }
}

function openFrontDesk(
  config: Config,
  { database, keys, clock, log, undo }: Ground,
  { people, audit }: { people: People; audit: Pick<AuditLog, 'within'> },
) {
  const { lifetime: lifetimeMs, idle: idleMs, fresh: freshMs } = config.control.session
  const callbackUrl = `${config.control.public_url}/sign-in/callback`
  const signIns = createSignIns({ issuers: config.people, people, callbackUrl, clock })
  undo.defer(() => signIns.close())
  const sessions = createSessions({ database, keys: keys.cookie, limits: { lifetimeMs, idleMs } })
  const { within } = audit
  const chatLinks = createChatLinks({ database, keys, within, sessions, signIns, people, clock, freshMs, log })
  const sweeping = setInterval(() => {
    Promise.all([sessions.sweep(), chatLinks.sweep()]).catch((error: unknown) =>
      log.warn({ err: error }, 'sessions that ended could not be forgotten'),
    )
  }, SWEEP_MS)
  undo.defer(() => clearInterval(sweeping))
  const frontDesk = { ...createFrontDesk({ signIns, sessions, keys: keys.cookie, clock, freshMs }), lifetimeMs }
  const publicUrl = config.control.public_url
  const passkeys = hasPasskeys(publicUrl) ? createPasskeys({ database, keys, within, publicUrl, clock, log }) : null
  return { frontDesk, chatLinks, passkeys }
}
