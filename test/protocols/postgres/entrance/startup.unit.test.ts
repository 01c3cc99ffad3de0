import { expect, test } from 'vitest'
import { readStartup } from '../../../../src/protocols/postgres/entrance/startup.ts'

const read = (parameters: Record<string, string>) =>
  readStartup(new Map(Object.entries({ user: 'app', ...parameters })))
const settings = (parameters: Record<string, string>) => {
  const startup = read(parameters)
  return 'code' in startup ? startup : Object.fromEntries(startup.settings)
}

test('a session without settings is in UTF8, and its database is named as its user', () => {
  expect(read({})).toEqual({
    user: 'app',
    database: 'app',
    applicationName: '',
    settings: new Map([['client_encoding', 'UTF8']]),
    extensions: [],
  })
})

test('passes what is on the list, whatever its case', () => {
  expect(
    settings({ application_name: 'psql', datestyle: 'ISO', TIMEZONE: 'UTC', extra_float_digits: '2', database: 'd' }),
  ).toEqual({
    application_name: 'psql',
    DateStyle: 'ISO',
    TimeZone: 'UTC',
    extra_float_digits: '2',
    client_encoding: 'UTF8',
  })
})

test.each(['UTF8', 'utf-8', "'utf-8'", 'UNICODE'])('takes %s for UTF8', (client_encoding) => {
  expect(settings({ client_encoding })).toEqual({ client_encoding: 'UTF8' })
})

test('reads options as the server does', () => {
  expect(settings({ options: '-c DateStyle=ISO\\ \\\\x  --extra-float-digits=3 -cTimeZone=UTC' })).toEqual({
    DateStyle: 'ISO \\x',
    extra_float_digits: '3',
    TimeZone: 'UTC',
    client_encoding: 'UTF8',
  })
})

test.each<[string, Record<string, string>, string]>([
  ['no user', { user: '' }, '28000'],
  ['a user too long', { user: 'x'.repeat(64) }, '22023'],
  ['a database too long', { database: 'ä'.repeat(32) }, '22023'],
  ['another encoding', { client_encoding: 'SJIS' }, '0A000'],
  ['another encoding in options', { options: '-c client_encoding=SJIS' }, '0A000'],
  ['a setting that is not on the list', { search_path: 'evil' }, '0A000'],
  ['one in options', { options: '-c role=admin' }, '0A000'],
  ['one hidden behind a backslash', { options: '-c\\ standard_conforming_strings=off' }, '0A000'],
  ['one with dashes', { options: '--standard-conforming-strings=off' }, '0A000'],
  ['a switch', { options: '-d 5' }, '22023'],
  ['a -c without a setting', { options: '-c' }, '22023'],
  ['a setting without a value', { options: '-c DateStyle' }, '22023'],
  ['a word', { options: 'DateStyle=ISO' }, '22023'],
  ['a value too long', { application_name: 'x'.repeat(1025) }, '22023'],
  ['replication', { replication: 'database' }, '0A000'],
  ['replication', { replication: 'true' }, '0A000'],
])('refuses %s', (_name, parameters, code) => {
  expect(read(parameters)).toMatchObject({ code })
})

test('lets a driver say that it wants no replication', () => {
  expect(settings({ replication: 'false' })).toEqual({ client_encoding: 'UTF8' })
})

test('notes extensions of the protocol', () => {
  expect(read({ '_pq_.test': 'on' })).toMatchObject({ extensions: ['_pq_.test'] })
})
