import { spawnSync } from 'node:child_process'

/** A Python that has these modules: the first one on the path, or the system's own, whose modules are packages of Debian. */
export function findPython(...modules: string[]): string | undefined {
  return ['python3', '/usr/bin/python3'].find(
    (command) => spawnSync(command, ['-c', `import ${modules.join(', ')}`], { stdio: 'ignore' }).status === 0,
  )
}
