import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { z } from 'zod'

/** As much of the Compose specification as docker-compose.yml uses; what it does not use fails the parse. */
const service = z.strictObject({
  image: z.string(),
  build: z.strictObject({ context: z.literal('.'), target: z.string() }).optional(),
  init: z.boolean().optional(),
  user: z.string().optional(),
  restart: z.enum(['no', 'unless-stopped']).optional(),
  profiles: z.array(z.string()).default([]),
  command: z.array(z.string()).optional(),
  environment: z.record(z.string(), z.string()).default({}),
  network_mode: z.string().optional(),
  ports: z.array(z.string()).default([]),
  volumes: z.array(z.string()).default([]),
  depends_on: z
    .record(
      z.string(),
      z.strictObject({
        condition: z.enum(['service_started', 'service_healthy', 'service_completed_successfully']),
        restart: z.boolean().optional(),
      }),
    )
    .default({}),
  healthcheck: z
    .strictObject({ test: z.array(z.string()), interval: z.string(), timeout: z.string(), retries: z.int() })
    .optional(),
})

const compose = z.object({
  name: z.string(),
  services: z.record(z.string(), service),
  volumes: z.record(z.string(), z.null()),
})

export type Service = z.infer<typeof service>
export interface Mount {
  readonly source: string
  readonly target: string
}

export const ROOT = new URL('../../', import.meta.url).pathname
const read = (name: string): string => readFileSync(`${ROOT}${name}`, 'utf8')

export const { services, volumes } = compose.parse(parse(read('docker-compose.yml'), { merge: true }))

export function serviceNamed(name: string): Service {
  const found = services[name]
  if (!found) throw new Error(`there is no service ${name}`)
  return found
}

export function mountsOf({ volumes: mounts }: Service): readonly Mount[] {
  return mounts.map((text) => {
    const [source = '', target = ''] = text.split(':')
    return { source, target }
  })
}

/** A stage of the Dockerfile: its instructions in order. */
export interface Stage {
  readonly name: string
  readonly instructions: readonly { readonly name: string; readonly value: string }[]
}

export const stages: readonly Stage[] = read('Dockerfile')
  .replace(/^#.*\n/gm, '')
  .replace(/\\\n\s*/g, '')
  .split(/^(?=FROM )/m)
  .filter((text) => text.trim() !== '')
  .map((text) => {
    const instructions = text
      .trim()
      .split(/\n+/)
      .map((line) => {
        const [, name = '', value = ''] = /^([A-Z]+) (.*)$/.exec(line) ?? []
        return { name, value }
      })
    return { name: / AS (\w+)$/.exec(instructions[0]?.value ?? '')?.[1] ?? '', instructions }
  })

export function valuesOf(stage: string, instruction: string): readonly string[] {
  const found = stages.find(({ name }) => name === stage)
  if (!found) throw new Error(`the Dockerfile has no stage ${stage}`)
  return found.instructions.filter(({ name }) => name === instruction).map(({ value }) => value)
}

/** What a container runs: the stage's entry point, and the service's command or else the stage's. */
export function argvOf({ build, command }: Service): readonly string[] {
  const words = z.array(z.string())
  const target = build?.target ?? ''
  const entry = words.parse(JSON.parse(valuesOf(target, 'ENTRYPOINT')[0] ?? '[]'))
  return [...entry, ...(command ?? words.parse(JSON.parse(valuesOf(target, 'CMD')[0] ?? '[]')))]
}
