#!/usr/bin/env node
// Plain JavaScript of any age: an old Node cannot even read src/main.ts, so that nothing in there could say why.
require('./require-node.cjs')
void import('../src/main.ts')
