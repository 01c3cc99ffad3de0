import { findFreePorts } from '../../src/demo/ports.ts'
import { startTestProvider } from '../control/console-provider.ts'
import { startWorld } from '../e2e/world.ts'
import { createTestDatabase } from '../postgres.ts'

export type WholeWorld = Awaited<ReturnType<typeof startWhole>>

/** A whole gateway in a process of its own, a store, an upstream, and an identity provider that people sign in to. */
export async function startWhole(
  more: Readonly<Record<string, unknown>> = {},
  { policy, host = '127.0.0.1' }: { policy?: string; host?: string } = {},
) {
  await using undo = new AsyncDisposableStack()
  const store = await createTestDatabase()
  undo.defer(() => store.close())
  const world = await startWorld(store)
  undo.defer(() => world[Symbol.asyncDispose]())
  const ports = await findFreePorts({ control: null, provider: null })
  if (policy !== undefined) await world.writePolicy(policy)
  const base = `http://${host}:${ports.control}`
  const provider = await startTestProvider({ port: ports.provider, controlUrl: base })
  undo.defer(() => provider.close())
  const gateway = await world.start({
    config: {
      // Longer than a test of a browser takes on a busy machine.
      hold: { wait: '2m' },
      control: { listen: `127.0.0.1:${ports.control}`, public_url: base },
      people: [
        {
          issuer: provider.issuer,
          name: 'company',
          audience: 'countersign-api',
          client_id: 'countersign-console',
          authorized_parties: ['countersign-console'],
          groups: { claim: 'groups' },
          roles: { admin: ['group:audit'] },
        },
      ],
      ...more,
    },
  })
  const stack = undo.move()
  return { ...world, base, provider, gateway, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}
