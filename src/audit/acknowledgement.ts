import { computeMac, isValidMac, type KeyPair, type SecretKey } from '../platform/keys.ts'
import type { Acknowledgement } from './store.ts'

const LABEL = 'countersign store acknowledgement v1'

/** Makes an operator's word one that the database cannot make up. */
export function sealAcknowledgement(
  what: Omit<Acknowledgement, 'kid' | 'mac'>,
  mac: KeyPair<SecretKey>,
): Acknowledgement {
  return { ...what, ...computeMac(mac, LABEL, partsOf(what)) }
}

export function isGenuine(acknowledgement: Acknowledgement, mac: KeyPair<SecretKey>): boolean {
  return isValidMac(mac, LABEL, partsOf(acknowledgement), acknowledgement)
}

function partsOf({ seq, hash, systemIdentifier, timeline, atMs }: Omit<Acknowledgement, 'kid' | 'mac'>) {
  return [`${seq}`, hash, systemIdentifier, timeline, `${atMs}`]
}
