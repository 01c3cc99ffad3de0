import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { holdOptions } from '../../src/approvals/options.ts'

describe('hold options', () => {
  it('have a default each', () => {
    expect(holdOptions.parse(undefined)).toEqual({
      wait: 50_000,
      expires: 900_000,
      use_within: 900_000,
      repeat_denial: 600_000,
      open_per_principal: 20,
      held_bytes: 256 * 1024 ** 2,
      held_bytes_per_principal: 64 * 1024 ** 2,
      keep: 86_400_000,
    })
  })

  it.each([
    [{ wait: '2m' }, { wait: 120_000 }],
    [{ held_bytes: '1GiB' }, { held_bytes: 1024 ** 3 }],
  ])('read %o', (given, read) => {
    expect(holdOptions.parse(given)).toMatchObject(read)
  })

  it.each([
    { wait: '50' },
    { wait: 50 },
    { wait: '0s' },
    { wait: '25h' },
    { use_within: '2d' },
    { held_bytes: '10MB' },
    { open_per_principal: 0 },
    { open_per_principal: 2.5 },
    { waits: '50s' },
  ])('refuse %o', (given) => {
    expect(holdOptions.safeParse(given).success).toBe(false)
  })

  it('describe each key, for the documentation', () => {
    const schema = z.toJSONSchema(holdOptions, { io: 'input' })
    const properties = Object.values(schema.properties ?? {})
    expect(properties).toHaveLength(8)
    for (const property of properties) expect(property).toHaveProperty('description')
  })
})
