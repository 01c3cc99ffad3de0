import { loadConfig } from '../config.ts'
import { findNoResumer } from '../identity/check-issuers.ts'
import { defineCommand } from './cli.ts'
import { configOption, DEFAULT_CONFIG, jsonOption } from './options.ts'
import type { Context } from './parts.ts'

export const configCheckCommand = defineCommand({
  summary: 'Check countersign.yaml, and print what it says without its secrets',
  options: { config: configOption, json: jsonOption },
  async run({ options }, { kinds, out }: Context) {
    const config = loadConfig(options.config ?? DEFAULT_CONFIG, kinds, { withKeys: true })
    const overview = {
      gateway: config.gateway.public_url,
      control: config.control.public_url,
      store: config.store ? 'external' : 'embedded',
      agent_issuers: config.agent_issuers.map(({ issuer }) => issuer),
      people: config.people.map(({ issuer }) => issuer),
      upstreams: config.upstreams.map(({ name, protocol, mode }) => ({ name, protocol, mode })),
      channels: kinds.channels.map(({ name }) => name).filter((name) => config.channels[name] !== undefined),
    }
    const noResumer = findNoResumer(config.people)
    if (options.json) {
      out(JSON.stringify({ ok: true, ...overview, warnings: noResumer === null ? [] : [noResumer] }))
      return
    }
    out('the configuration is in order')
    for (const { name, protocol, mode } of overview.upstreams) {
      out(`  upstream ${name} (${protocol})${mode === 'observe' ? ': OBSERVE MODE, nothing is held or denied' : ''}`)
    }
    for (const issuer of overview.agent_issuers) out(`  agents of ${issuer}`)
    for (const issuer of overview.people) out(`  people of ${issuer}`)
    for (const name of overview.channels) out(`  channel ${name}`)
    if (noResumer !== null) out(`warning: ${noResumer}`)
  },
})
