import { formatProblem } from '../platform/yaml.ts'
import type { PolicyStore } from '../policy/publish.ts'

/**
 * `policy publish`: makes the policies of this machine the active ones, for every replica. Also the way to go back:
 * policies that were active before get a new version. Returns the exit code.
 */
export async function publishPolicies(command: {
  readonly store: Pick<PolicyStore, 'publish'>
  /** Who publishes, for the log. */
  readonly by: string
  readonly isJson: boolean
  print(line: string): void
}): Promise<number> {
  const { store, by, isJson, print } = command
  const result = await store.publish(by)
  if (isJson) print(JSON.stringify(result))
  else {
    switch (result.result) {
      case 'published':
        print(`published as version ${result.version}`)
        break
      case 'known':
        print(`version ${result.version} is the same and is active: nothing to publish`)
        break
      case 'refused':
        for (const problem of result.problems) print(formatProblem(problem))
        break
    }
  }
  return result.result === 'refused' ? 1 : 0
}
