import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { GatewayError } from '../domain/error.ts'
import { isErrno } from '../platform/files.ts'
import { defineCommand } from './cli.ts'
import { jsonOption } from './options.ts'
import type { Context } from './parts.ts'

const CONFIG = `# What agents, people and upstreams there are. \`countersign config check\` reads it; docs/configuration.md has every key.
gateway:
  listen: 127.0.0.1:8080
  public_url: http://127.0.0.1:8080
control:
  listen: 127.0.0.1:8081
  public_url: http://127.0.0.1:8081
# No store: an embedded Postgres is kept under .countersign/
agent_issuers:
  - issuer: https://idp.example.com        # whose tokens are agents
    audiences: [http://127.0.0.1:8080]     # agents ask for tokens with this audience
    owner: { claim: owner }                # who answers for an agent: "issuer|subject"
people:
  - issuer: https://idp.example.com        # whose tokens are reviewers
    audience: countersign-console          # never an audience of agents
    client_id: countersign-console
    authorized_parties: [countersign-console]
    read_client_id: countersign-reader     # a second client: what \`countersign login\` keeps lists and shows, and cannot vote
    groups: { claim: groups }
    roles: { operator: ["group:operations"] }   # who may resume an agent that was stopped
upstreams:
  - name: billing                          # agents call http://127.0.0.1:8080/billing/…
    protocol: http
    url: https://billing.example.com
policies: policies/
`

const POLICY = `# What no rule allows is denied. deny beats hold beats allow.
name: first
rules:
  - name: reads-pass
    verbs: [GET, HEAD]
    effect: allow
  - name: changes-wait
    verbs: [POST, PUT, PATCH]
    effect: hold
    approval: { reviewers: ["group:platform"] }
  - name: never-delete
    verbs: [DELETE]
    effect: deny
    message: Deleting is for people.
`

const CASES = `principals:
  agent: { is: "https://idp.example.com|agent-1" }
cases:
  - name: an agent reads
    principal: agent
    upstream: billing
    verb: GET
    resource: /customers
    expect: { effect: allow, rules: [first/reads-pass] }
  - name: a change waits for a person
    principal: agent
    upstream: billing
    verb: POST
    resource: /refunds
    expect: { effect: hold, rules: [first/changes-wait] }
  - name: nothing is deleted
    principal: agent
    upstream: billing
    verb: DELETE
    resource: /customers/1
    expect: { effect: deny, rules: [first/never-delete] }
`

const FILES = { 'countersign.yaml': CONFIG, 'policies/first.yaml': POLICY, 'policies/first.test.yaml': CASES }

export const initCommand = defineCommand({
  summary: 'Write a first countersign.yaml and policies',
  details:
    'Never overwrites a file. Put your identity provider and your upstream in, then run `countersign config check`.',
  args: { directory: { doc: 'Where to; made if it is not there. This directory if left out', optional: true } },
  options: { json: jsonOption },
  async run({ args, options }, { out, typedAs }: Context) {
    const files = Object.entries(FILES).map(([name, text]) => [join(args.directory ?? '', name), text] as const)
    for (const [file, text] of files) await create(file, text)
    const written = files.map(([file]) => file)
    if (options.json) out(JSON.stringify({ written }))
    else {
      for (const file of written) out(`wrote ${file}`)
      const config = quoted(join(args.directory ?? '', 'countersign.yaml'))
      out(`next: put your issuer and your upstream into ${config}, then run`)
      for (const next of ['config check', 'policy test', 'serve']) out(`  ${typedAs} ${next} --config ${config}`)
    }
  },
})

/** As a shell reads it. */
function quoted(path: string): string {
  return /^[\w./+@:-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`
}

async function create(file: string, text: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true })
  try {
    await writeFile(file, text, { flag: 'wx', mode: 0o644 })
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw new GatewayError('config', `${file} is there already; nothing is overwritten`)
    throw error
  }
}
