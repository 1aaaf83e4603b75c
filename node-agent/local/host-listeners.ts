import { readFile } from 'node:fs/promises';
import { parseListeners } from '../core/proc-net.js';
import type { PortUse } from './port-use.js';

const FILES = [
  ['tcp', 'tcp'],
  ['tcp6', 'tcp'],
  ['udp', 'udp'],
  ['udp6', 'udp'],
] as const;

export interface HostListener extends PortUse {
  /** Of the socket; 0 = nobody's. */
  readonly inode: number;
}

/** The ports that programs of this host listen on. */
export async function hostListeners(): Promise<HostListener[]> {
  const lists = await Promise.all(
    FILES.map(async ([file, protocol]) => {
      // a kernel without IPv6 lacks two of them
      const text = await readFile(`/proc/self/net/${file}`, 'utf8').catch(() => '');
      return parseListeners(text, protocol).map(({ address, port, inode }) => ({
        protocol,
        hostIp: address,
        port,
        inode,
        holder: 'a program of this host (see "ss -lntup")',
      }));
    }),
  );
  return lists.flat();
}
