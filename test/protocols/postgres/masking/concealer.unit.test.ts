import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createConcealer } from '../../../../src/protocols/postgres/masking/concealer.ts'
import { type Column, decodeBackend, encodeBackend } from '../../../../src/protocols/postgres/wire/backend.ts'
import { Malformed } from '../../../../src/protocols/postgres/wire/fields.ts'

/** Column 2 of relation 7 is hidden; relation 8 is known, and has nothing that is. */
const concealer = () => createConcealer({ columns: new Map([[7, new Set([2])]]), known: new Set([7, 8]) })

const column = (table: number, attribute: number): Column => ({
  name: 'a',
  table,
  attribute,
  dataType: 25,
  size: -1,
  modifier: -1,
  format: 'text',
})
const row = (...values: readonly (string | null)[]) =>
  encodeBackend({ type: 'data_row', values: values.map((value) => (value === null ? null : Buffer.from(value))) })

describe('a row', () => {
  it('loses the values of hidden columns and keeps the others, byte for byte', () => {
    const value = fc.option(fc.uint8Array({ maxLength: 40 }), { freq: 4 })
    const cell = fc.record({ value, attribute: fc.integer({ min: 1, max: 3 }), table: fc.constantFrom(0, 7, 8) })
    fc.assert(
      fc.property(fc.array(cell, { maxLength: 20 }), (cells) => {
        const subject = concealer()
        subject.describe(cells.map(({ table, attribute }) => column(table, attribute)))
        const isHidden = ({ table, attribute }: (typeof cells)[number]) => table === 7 && attribute === 2
        const values = cells.map((one) => one.value && Buffer.from(one.value))
        const concealed = subject.conceal(encodeBackend({ type: 'data_row', values }))
        expect(concealed.readInt32BE(1)).toBe(concealed.length - 1)
        expect(decodeBackend(concealed)).toEqual({
          type: 'data_row',
          values: cells.map((one, index) => (isHidden(one) ? null : values[index])),
        })
        expect(subject.isClear).toBe(!cells.some(isHidden))
      }),
    )
  })

  it('does not pass before it was described, nor once it was told that this is over', () => {
    const subject = concealer()
    expect(subject.isClear).toBe(false)
    expect(() => subject.conceal(row('x'))).toThrow(Malformed)
    subject.describe([column(8, 1)])
    expect(subject.isClear).toBe(true)
    subject.describe(null)
    expect(subject.isClear).toBe(false)
    expect(() => subject.conceal(row('x'))).toThrow(Malformed)
  })

  it.each([[[]], [['x']], [['x', 'y', 'z']]])(
    'does not pass with another number of values than described: %j',
    (values) => {
      const subject = concealer()
      subject.describe([column(7, 2), column(7, 1)])
      expect(() => subject.conceal(row(...values))).toThrow(Malformed)
    },
  )

  it('does not pass if its values do not fill it', () => {
    const subject = concealer()
    subject.describe([column(7, 1), column(7, 2)])
    const whole = row('abc', 'def')
    for (let length = 0; length < whole.length; length++) {
      expect(() => subject.conceal(whole.subarray(0, length))).toThrow(Malformed)
    }
    expect(() => subject.conceal(Buffer.concat([whole, Buffer.from('x')]))).toThrow(Malformed)
    const negative = Buffer.from(whole)
    negative.writeInt32BE(-2, 7)
    expect(() => subject.conceal(negative)).toThrow(Malformed)
  })

  it('does not come of a relation that nobody asked about', () => {
    expect(() => concealer().describe([column(0, 0), column(9, 1)])).toThrow(Malformed)
  })
})
