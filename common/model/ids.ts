import type { Random } from '../random.js';

/** Length of every object id: 25 base-36 digits, as in Swarm (about 129 bits). */
export const ID_LENGTH = 25;

/** A new random object id, for example "0r5o6ti2zgqcg3wr1dsjz1vyf". */
export function newId(random: Random): string {
  let value = 0n;
  for (const byte of random.bytes(17)) value = (value << 8n) | BigInt(byte);
  return value.toString(36).padStart(ID_LENGTH, '0').slice(-ID_LENGTH);
}

/** What listings show of an id. */
export function shortId(id: string): string {
  return id.slice(0, 12);
}
