import type { Command, Group, OptionSpec } from './cli.ts'

const WIDTH = 100

export function groupHelp<Context>(path: string, { summary, commands }: Group<Context>): string {
  const rows = Object.entries(commands).map(([name, command]): Row => [nameIn(name, command), command.summary])
  return paragraphs(`Usage: ${path} <command>`, `${summary}.`, section('Commands', rows), 'Every command has --help.')
}

export function commandHelp<Context>(path: string, command: Command<Context>): string {
  const { summary, details, options, args, rest } = command
  const usage = [
    path,
    ...Object.entries(args).map(([name, { optional }]) => (optional ? `[${name}]` : `<${name}>`)),
    ...Object.entries(options).flatMap(([name, spec]) => (spec.required ? [written(name, spec)] : [])),
    '[options]',
    ...(rest ? [`-- <${rest.name}…>`] : []),
  ].join(' ')
  const argumentRows = Object.entries(args).map(([name, { doc }]): Row => [name, doc])
  if (rest) argumentRows.push([`${rest.name}…`, rest.doc])
  const optionRows = Object.entries(options).map(([name, spec]): Row => [written(name, spec), spec.doc])
  return paragraphs(
    `Usage: ${usage}`,
    `${summary}.`,
    details ?? '',
    section('Arguments', argumentRows),
    section('Options', [...optionRows, ['--help', 'Says this']]),
  )
}

type Row = readonly [name: string, doc: string]

function nameIn<Context>(name: string, command: Command<Context> | Group<Context>): string {
  return command.kind === 'group' ? `${name} …` : name
}

function written(name: string, { type, value }: OptionSpec): string {
  return type === 'boolean' ? `--${name}` : `--${name} <${value ?? name}>`
}

function paragraphs(...parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join('\n\n')
}

function section(title: string, rows: readonly Row[]): string {
  if (rows.length === 0) return ''
  const indent = Math.max(...rows.map(([name]) => name.length)) + 4
  const lines = rows.map(([name, doc]) => `  ${name.padEnd(indent - 2)}${wrap(doc, indent)}`)
  return `${title}:\n${lines.join('\n')}`
}

function wrap(text: string, indent: number): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && indent + line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line].join(`\n${' '.repeat(indent)}`)
}
