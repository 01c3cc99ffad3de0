/** Options that several commands have. */
export const DEFAULT_CONFIG = 'countersign.yaml'
export const configOption = {
  type: 'string',
  value: 'file',
  doc: `The configuration; ${DEFAULT_CONFIG} if left out`,
} as const
export const jsonOption = { type: 'boolean', doc: 'Print JSON' } as const
