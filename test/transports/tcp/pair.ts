import { once } from 'node:events'
import net, { type AddressInfo, type Socket } from 'node:net'

/** Both ends of one connection over loopback. */
export async function connectPair(): Promise<{ near: Socket; far: Socket; close(): void }> {
  const server = net.createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  // A server that listens on TCP has an address with a port.
  const far = net.connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true })
  far.on('error', () => {})
  const [near] = (await accepted) as [Socket]
  return {
    near,
    far,
    close() {
      near.destroy()
      far.destroy()
      server.close()
    },
  }
}
