import { readFile } from 'node:fs/promises';
import { parseListeners } from '../core/proc-net.js';
import type { PortUse } from './port-use.js';

const FILES = [
  ['tcp', 'tcp'],
  ['tcp6', 'tcp'],
  ['udp', 'udp'],
  ['udp6', 'udp'],
] as const;

/** The ports that programs of this host listen on. */
export async function hostListeners(): Promise<PortUse[]> {
  const lists = await Promise.all(
    FILES.map(async ([file, protocol]) => {
      // a kernel without IPv6 lacks two of them
      const text = await readFile(`/proc/self/net/${file}`, 'utf8').catch(() => '');
      return parseListeners(text, protocol).map(({ address, port }) => ({
        protocol,
        hostIp: address,
        port,
        holder: 'a program of this host (see "ss -lntup")',
      }));
    }),
  );
  return lists.flat();
}
