/** When the votes of a requirement count, by the clock on the wall of a place. */
export interface Hours {
  /** 1 is Monday, 7 Sunday; ascending. A window that ends on the next morning belongs to the day on which it begins. */
  readonly days: readonly number[]
  /** Minutes after midnight. */
  readonly from: number
  /** Minutes after midnight, up to 1440; not later than `from` if the window ends on the next day. */
  readonly to: number
  /** A name of the IANA time zone database. */
  readonly zone: string
}

const DAYS = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']
const DAY_MINUTES = 1440

/** Reads `mon`, `mon-fri` or `sat-mon` as days; null for anything else. */
export function parseDays(text: string): readonly number[] | null {
  const [first, last, ...more] = text.split('-').map((name) => DAYS.indexOf(name) + 1)
  if (first === undefined || first === 0 || last === 0 || more.length > 0) return null
  const length = last === undefined ? 1 : ((last - first + 7) % 7) + 1
  return Array.from({ length }, (_, after) => ((first - 1 + after) % 7) + 1)
}

/** Reads `08:00`, up to `24:00`, as minutes after midnight; null for anything else. */
export function parseTimeOfDay(text: string): number | null {
  const match = /^([0-9]{2}):([0-5][0-9])$/.exec(text)
  const minutes = match ? Number(match[1]) * 60 + Number(match[2]) : Number.NaN
  return minutes <= DAY_MINUTES ? minutes : null
}

export function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en-US', { timeZone: name })
    return true
  } catch {
    return false
  }
}

/** Whether a moment (milliseconds since the epoch) is within the hours, as clocks show it there on that day. */
export function isWithin(hours: Hours, at: number): boolean {
  const { day, minute } = readWall(hours.zone, at)
  const { from, to } = hours
  if (from < to) return hours.days.includes(day) && minute >= from && minute < to
  const dayBefore = day === 1 ? 7 : day - 1
  return (hours.days.includes(day) && minute >= from) || (hours.days.includes(dayBefore) && minute < to)
}

/** `mon, tue 08:00-18:00 Europe/Berlin`, days that follow each other as `mon-fri`. */
export function formatHours({ days, from, to, zone }: Hours): string {
  const runs: number[][] = []
  for (const day of days) {
    const run = runs.at(-1)
    if (run?.at(-1) === day - 1) run.push(day)
    else runs.push([day])
  }
  const named = runs.flatMap((run) => {
    const names = run.map((day) => DAYS[day - 1])
    return names.length > 2 ? [`${names[0]}-${names.at(-1)}`] : names
  })
  return `${named.join(', ')} ${formatTime(from)}-${formatTime(to)} ${zone}`
}

function formatTime(minutes: number): string {
  return [Math.floor(minutes / 60), minutes % 60].map((part) => String(part).padStart(2, '0')).join(':')
}

/** What calendar and clock show there; the zone's own rules for summer time are in ICU's data. */
function readWall(zone: string, at: number): { day: number; minute: number } {
  const format = new Intl.DateTimeFormat('en-US', {
    timeZone: zone,
    weekday: 'short',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  })
  const parts = new Map(format.formatToParts(at).map(({ type, value }) => [type, value]))
  const day = DAYS.indexOf((parts.get('weekday') ?? '').toLowerCase()) + 1
  return { day, minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')) }
}
