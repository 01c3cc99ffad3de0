import { crc32, deflateSync, inflateSync } from 'node:zlib'

/*
 * A screenshot with 256 colours takes a third of the room, and looks the same: text and lines have few colours, and their
 * edges many that hardly differ. PNG: https://www.w3.org/TR/png-3/
 */

const SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
const MOST_COLOURS = 256
/** Colours are counted in steps of so many, which nobody sees. */
const STEP_BITS = 2

/** The same picture with a palette. Takes 8 bits a channel, with or without alpha, which is dropped; not interlaced. */
export function toPalette(png: Buffer): Buffer {
  const { width, height, pixels } = readPixels(png)
  const counts = new Map<number, number>()
  for (const colour of pixels) counts.set(coarse(colour), (counts.get(coarse(colour)) ?? 0) + 1)
  const palette = [...counts]
    .sort(([, a], [, b]) => b - a)
    .slice(0, MOST_COLOURS)
    .map(([colour]) => colour)
  const indices = new Map(palette.map((colour, index) => [colour, index]))
  for (const colour of counts.keys()) {
    if (!indices.has(colour)) indices.set(colour, nearest(colour, palette))
  }
  const rows = Buffer.alloc(height * (width + 1))
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      rows[y * (width + 1) + x + 1] = indices.get(coarse(pixels[y * width + x] ?? 0)) ?? 0
    }
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([8, 3, 0, 0, 0], 8)
  const colours = Buffer.from(palette.flatMap((colour) => [colour >> 16, (colour >> 8) & 255, colour & 255]))
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('PLTE', colours),
    chunk('IDAT', deflateSync(rows, { level: 9, memLevel: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ])
}

function coarse(colour: number): number {
  const mask = (255 << STEP_BITS) & 255
  const low = colour & ((mask << 16) | (mask << 8) | mask)
  // White stays white, and black black.
  return low | ((low >> (8 - STEP_BITS)) & (((1 << STEP_BITS) - 1) * 0x010101))
}

function nearest(colour: number, palette: readonly number[]): number {
  let [best, least] = [0, Number.POSITIVE_INFINITY]
  for (const [index, other] of palette.entries()) {
    const distance = [16, 8, 0].reduce(
      (sum, bits) => sum + (((colour >> bits) & 255) - ((other >> bits) & 255)) ** 2,
      0,
    )
    if (distance < least) [best, least] = [index, distance]
  }
  return best
}

interface Picture {
  readonly width: number
  readonly height: number
  /** Red, green and blue, eight bits each. */
  readonly pixels: Uint32Array
}

function readPixels(png: Buffer): Picture {
  if (!png.subarray(0, 8).equals(SIGNATURE)) throw new Error('not a PNG')
  const data: Buffer[] = []
  for (let at = 8; at < png.length; ) {
    const length = png.readUInt32BE(at)
    if (png.toString('latin1', at + 4, at + 8) === 'IDAT') data.push(png.subarray(at + 8, at + 8 + length))
    at += length + 12
  }
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)]
  const [depth, type, , , interlace] = png.subarray(24, 29)
  if (depth !== 8 || (type !== 2 && type !== 6) || interlace !== 0) throw new Error('not a screenshot of Chromium')
  return {
    width,
    height,
    pixels: unfilter(inflateSync(Buffer.concat(data)), { width, height, size: type === 2 ? 3 : 4 }),
  }
}

/** Undoes what each row was filtered by (PNG, section 9). */
function unfilter(rows: Buffer, { width, height, size }: { width: number; height: number; size: number }): Uint32Array {
  const stride = width * size
  const pixels = new Uint32Array(width * height)
  let above = Buffer.alloc(stride)
  for (let y = 0; y < height; y++) {
    const start = y * (stride + 1)
    const filter = rows[start] ?? 0
    const row = Buffer.from(rows.subarray(start + 1, start + 1 + stride))
    for (let i = 0; i < stride; i++) {
      const left = i >= size ? (row[i - size] ?? 0) : 0
      const up = above[i] ?? 0
      const corner = i >= size ? (above[i - size] ?? 0) : 0
      row[i] = (row[i] ?? 0) + predict(filter, { left, up, corner })
    }
    for (let x = 0; x < width; x++) pixels[y * width + x] = row.readUIntBE(x * size, 3)
    above = row
  }
  return pixels
}

function predict(filter: number, { left, up, corner }: { left: number; up: number; corner: number }): number {
  if (filter === 1) return left
  if (filter === 2) return up
  if (filter === 3) return (left + up) >> 1
  if (filter !== 4) return 0
  const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)]
  if (a <= b && a <= c) return left
  return b <= c ? up : corner
}

function chunk(type: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data])
  const whole = Buffer.alloc(body.length + 8)
  whole.writeUInt32BE(data.length, 0)
  body.copy(whole, 4)
  whole.writeUInt32BE(crc32(body), body.length + 4)
  return whole
}
