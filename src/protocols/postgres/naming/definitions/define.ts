import { type NodeTag, nameOf, stringsOf, type Tree } from '../tree.ts'
import { markWrite, mention, mentionGlobal, type Place, type Visit, within } from '../walk.ts'
import { mentionObject } from './mention-object.ts'

/** Notes what a definition names as text. */
export type Note = (place: Place, node: Tree) => void

/** A definition: what its fields name as text, then what it holds. */
export function define(tag: NodeTag, note: Note = () => {}, except: readonly string[] = []): Visit {
  const inner = within(tag, except)
  return (node, place) => {
    markWrite(place)
    note(place, node)
    inner(node, place)
  }
}

export function all(...notes: readonly Note[]): Note {
  return (place, node) => {
    for (const note of notes) note(place, node)
  }
}

/** Names that stand in no schema. */
export function globals(...fields: readonly string[]): Note {
  return (place, node) => {
    for (const field of fields) mentionGlobal(place, node[field])
  }
}

/** An object of the type that another field says. */
export function object(typeField: string, field = 'object'): Note {
  return (place, node) => {
    if (node[field] !== undefined) mentionObject(place, String(node[typeField]), node[field])
  }
}

/** Functions that will be called. */
export function called(...fields: readonly string[]): Note {
  return (place, node) => {
    for (const field of fields) mentionFunction(place, node[field])
  }
}

export function created(kind: 'function' | 'operator' | 'type' | 'other', field: string): Note {
  return (place, node) => {
    mentionNew(place, kind, node[field])
  }
}

export function existing(kind: 'type' | 'other', field: string): Note {
  return (place, node) => {
    const names = stringsOf(node[field])
    if (names.length > 0) mention(place, kind, nameOf(names))
  }
}

/** What it does cannot be seen from its words. */
export const opaque: Note = (place) => {
  place.found.isOpaque = true
}

/** Notes something new that has a name in a schema. */
export function mentionNew(place: Place, kind: 'function' | 'operator' | 'type' | 'other', names: unknown): void {
  mention(place, kind, nameOf(stringsOf(names)), { isMade: true })
}

export function mentionFunction(place: Place, names: unknown): void {
  const parts = stringsOf(names)
  if (parts.length > 0) mention(place, 'function', nameOf(parts), { verb: 'call' })
}
