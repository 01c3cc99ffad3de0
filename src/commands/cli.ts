/** An option of a command. Every option is written with two dashes. */
export interface OptionSpec {
  readonly type: 'string' | 'boolean'
  readonly doc: string
  /** What stands for its value in the help, `url` for `--url <url>`. */
  readonly value?: string
  /** May be given more than once; then its value is a list. */
  readonly multiple?: true
  readonly required?: true
}
export type OptionSpecs = Readonly<Record<string, OptionSpec>>

/** A positional argument. Optional ones come last. */
export interface ArgumentSpec {
  readonly doc: string
  readonly optional?: true
}
export type ArgumentSpecs = Readonly<Record<string, ArgumentSpec>>

type OptionValue<Spec extends OptionSpec> = Spec extends { readonly type: 'boolean' }
  ? boolean
  : Spec extends { readonly multiple: true }
    ? readonly string[]
    : Spec extends { readonly required: true }
      ? string
      : string | undefined

/** What a command is run with, parsed. */
export interface Input<Options extends OptionSpecs, Arguments extends ArgumentSpecs> {
  readonly options: { readonly [Name in keyof Options]: OptionValue<Options[Name]> }
  readonly args: {
    readonly [Name in keyof Arguments]: Arguments[Name] extends { readonly optional: true }
      ? string | undefined
      : string
  }
  /** What follows `--`, where the command takes it. */
  readonly rest: readonly string[]
}

export interface CommandSpec<Context, Options extends OptionSpecs, Arguments extends ArgumentSpecs> {
  /** One sentence without its full stop, for the list of commands. */
  readonly summary: string
  /** What `--help` says besides. */
  readonly details?: string
  readonly options?: Options
  readonly args?: Arguments
  /** Names what follows `--`; without it nothing may. */
  readonly rest?: { readonly name: string; readonly doc: string }
  /** Returns the exit code, 0 if nothing. Throws GatewayError for what a person is told in one line. */
  run(input: Input<Options, Arguments>, context: Context): Promise<number | undefined> | Promise<void>
}

/** A command with its own types forgotten: what the dispatcher works with. */
export interface Command<Context> {
  readonly kind: 'command'
  readonly summary: string
  readonly details: string | null
  readonly options: OptionSpecs
  readonly args: ArgumentSpecs
  readonly rest: { readonly name: string; readonly doc: string } | null
  run(input: Input<OptionSpecs, ArgumentSpecs>, context: Context): Promise<number>
}

export interface Group<Context> {
  readonly kind: 'group'
  readonly summary: string
  readonly commands: Readonly<Record<string, Command<Context> | Group<Context>>>
}

/** The least a context has: where lines go. */
export interface Printer {
  out(line: string): void
  err(line: string): void
}

export function defineCommand<
  Context,
  const Options extends OptionSpecs = Record<never, OptionSpec>,
  const Arguments extends ArgumentSpecs = Record<never, ArgumentSpec>,
>(spec: CommandSpec<Context, Options, Arguments>): Command<Context> {
  return {
    kind: 'command',
    summary: spec.summary,
    details: spec.details ?? null,
    options: spec.options ?? {},
    args: spec.args ?? {},
    rest: spec.rest ?? null,
    // It was parsed by these very specs.
    run: async (input, context) => (await spec.run(input as Input<Options, Arguments>, context)) ?? 0,
  }
}
