#!/usr/bin/env node
// Plain JavaScript of any age: an old Node cannot even read src/main.ts, so that nothing in there could say why.
const { spawn } = require('node:child_process')
const { dirname, join } = require('node:path')

const major = Number(process.versions.node.split('.')[0])
const brought = major < 24 ? findBrought() : null
if (brought === null) runHere()
else runOn(brought)

/** The Node 24 that `npm ci` brings along on Linux; null where it does not. */
function findBrought() {
  try {
    const manifest = require.resolve(`node-${process.platform}-${process.arch}/package.json`)
    return join(dirname(manifest), 'bin', 'node')
  } catch (error) {
    if (error.code === 'MODULE_NOT_FOUND') return null
    throw error
  }
}

function runHere() {
  require('./require-node.cjs')
  void import('../src/main.ts')
}

function runOn(node) {
  const main = join(__dirname, '..', 'src', 'main.ts')
  const child = spawn(node, [main, ...process.argv.slice(2)], { stdio: 'inherit' })
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP']
  const passOn = (signal) => child.kill(signal)
  for (const signal of signals) process.on(signal, passOn)
  // It is there and does not start, as on a system with another libc.
  child.once('error', runHere)
  child.once('exit', (code, signal) => {
    for (const each of signals) process.off(each, passOn)
    // Who waits for this process sees how the other one ended.
    if (signal === null) process.exitCode = code
    else process.kill(process.pid, signal)
  })
}
