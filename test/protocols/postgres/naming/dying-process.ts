import { parentPort } from 'node:worker_threads'

/* A thread that does what a broken parser might. */

const port = parentPort
port?.on('message', ({ id, sql }: { id: number; sql: string }) => {
  if (sql === 'die') process.exit(1)
  if (sql === 'throw') throw new Error('broken')
  if (sql === 'spin') for (;;);
  port.postMessage({ id, parsed: sql === 'broken' ? 'broken' : { pieces: [] } })
})
port?.postMessage({ ready: true })
