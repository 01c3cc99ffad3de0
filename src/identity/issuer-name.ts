/** The issuer's short name, by which `group:okta/finance` qualifies a group: its host, unless it is given one. */
export function issuerName(options: { readonly issuer: string; readonly name?: string | undefined }): string {
  return options.name ?? new URL(options.issuer).host
}
