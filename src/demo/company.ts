/** Who exists in the demo's company: its people, its one agent, and the OAuth clients through which people sign in. */
export const PEOPLE = {
  finn: { name: 'Finn from finance', groups: ['finance'] },
  olivia: { name: 'Olivia, who owns the support agent', groups: ['finance', 'support'] },
  aud: { name: 'Aud, the auditor', groups: ['audit'] },
  otto: { name: 'Otto, who operates the gateway', groups: ['operations'] },
} as const
export type PersonName = keyof typeof PEOPLE

export const AGENT = { id: 'support-agent', groups: ['support-agents'], owner: 'olivia' } as const satisfies {
  id: string
  groups: readonly string[]
  owner: PersonName
}

/** The OAuth client of those who vote, and the audience of people's tokens. */
export const CONSOLE = 'countersign-console'
/** The OAuth client whose tokens list and show only: `countersign login` keeps them. */
export const READER = 'countersign-reader'

export function isPersonName(name: string | null): name is PersonName {
  return name !== null && Object.hasOwn(PEOPLE, name)
}
