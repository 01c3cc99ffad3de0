// Loaded into a gateway of the benchmark with --import: answers a message with the memory that is in use after a full
// collection. Nothing of the gateway knows of it.
process.on('message', (message) => {
  if (message !== 'measure' || !globalThis.gc) return
  // Twice, because finalizers of the first let go of what the second can collect.
  globalThis.gc()
  globalThis.gc()
  process.send?.(process.memoryUsage())
})
// The channel to the parent does not keep the gateway running.
process.channel?.unref()
