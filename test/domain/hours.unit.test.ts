import { describe, expect, it } from 'vitest'
import { formatHours, type Hours, isTimeZone, isWithin, parseDays, parseTimeOfDay } from '../../src/domain/hours.ts'

const OFFICE: Hours = { days: [1, 2, 3, 4, 5], from: 480, to: 1080, zone: 'Europe/Berlin' }
const NIGHTS: Hours = { days: [5], from: 1320, to: 360, zone: 'Europe/Berlin' }
const isAt = (hours: Hours, time: string) => isWithin(hours, Date.parse(time))

describe('hours', () => {
  it.each([
    ['mon', [1]],
    ['mon-fri', [1, 2, 3, 4, 5]],
    ['sat-mon', [6, 7, 1]],
    ['sun-sun', [7]],
    ['Mon', null],
    ['mon-', null],
    ['mon-tue-wed', null],
    ['', null],
  ])('reads %s as days', (text, days) => {
    expect(parseDays(text)).toEqual(days)
  })

  it.each([
    ['08:00', 480],
    ['00:00', 0],
    ['24:00', 1440],
    ['24:01', null],
    ['8:00', null],
    ['08:60', null],
  ])('reads %s as a time of day', (text, minutes) => {
    expect(parseTimeOfDay(text)).toBe(minutes)
  })

  it('knows time zones', () => {
    expect(['Europe/Berlin', 'UTC', 'Europe/Atlantis', ''].map(isTimeZone)).toEqual([true, true, false, false])
  })

  it.each([
    ['at the first minute', '2026-01-05T07:00:00Z', true],
    ['before it', '2026-01-05T06:59:59.999Z', false],
    ['before the last', '2026-01-05T16:59:59.999Z', true],
    ['at the end', '2026-01-05T17:00:00Z', false],
    ['on a Sunday', '2026-01-04T12:00:00Z', false],
    ['in summer, an hour earlier by UTC', '2026-07-06T06:00:00Z', true],
    ['in summer, before it', '2026-07-06T05:59:00Z', false],
    ['on the Monday after the clocks went forward', '2026-03-30T06:00:00Z', true],
    ['on the Friday before they did', '2026-03-27T06:30:00Z', false],
    ['on the Monday after they went back', '2026-10-26T06:30:00Z', false],
  ])('are those of the place: %s', (_when, time, isOpen) => {
    expect(isAt(OFFICE, time)).toBe(isOpen)
  })

  it.each([
    ['on the evening it begins', '2026-01-09T21:00:00Z', true],
    ['after midnight', '2026-01-10T04:59:00Z', true],
    ['when it ends', '2026-01-10T05:00:00Z', false],
    ['after midnight of another day', '2026-01-09T02:00:00Z', false],
    // 2026-10-25: 02:30 comes twice in Berlin.
    ['both times an hour comes twice', '2026-10-25T00:30:00Z', false],
  ])('may end on the next morning: %s', (_when, time, isOpen) => {
    expect(isAt(NIGHTS, time)).toBe(isOpen)
  })

  it('go around the week', () => {
    const sundays: Hours = { ...NIGHTS, days: [7] }
    expect(isAt(sundays, '2026-01-05T02:00:00Z')).toBe(true)
    expect(isAt({ ...sundays, from: 0, to: 1440 }, '2026-01-04T22:59:00Z')).toBe(true)
  })

  it('count the hour that comes twice, twice', () => {
    const early: Hours = { days: [7], from: 120, to: 180, zone: 'Europe/Berlin' }
    expect(['00:30', '01:30', '02:30'].map((time) => isAt(early, `2026-10-25T${time}:00Z`))).toEqual([
      true,
      true,
      false,
    ])
    // And in spring there is no such hour.
    expect(['00:30', '01:00', '01:30'].map((time) => isAt(early, `2026-03-29T${time}:00Z`))).toEqual([
      false,
      false,
      false,
    ])
  })

  it('are written as a rule has them', () => {
    expect(formatHours(OFFICE)).toBe('mon-fri 08:00-18:00 Europe/Berlin')
    expect(formatHours({ ...NIGHTS, days: [1, 2, 5] })).toBe('mon, tue, fri 22:00-06:00 Europe/Berlin')
  })
})
