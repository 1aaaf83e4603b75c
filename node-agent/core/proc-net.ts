/** A socket of /proc/net that waits for others. */
export interface Listener {
  /** IPv4; empty: every address. Of IPv6 only what IPv4 clients can reach counts. */
  address: string;
  port: number;
  /** Of the socket, to find whose it is; 0 = nobody's. */
  inode: number;
}

const TCP_LISTEN = '0A';
const UDP_UNCONNECTED = '07';
const ANY6 = '0'.repeat(32);
/** ::ffff:a.b.c.d, as the kernel writes it: words of four bytes, each the last byte first. */
const MAPPED6 = /^0{16}FFFF0000([0-9A-F]{8})$/;

/**
 * The listening sockets in /proc/net/tcp, tcp6, udp or udp6, proc(5). Lines that are none are left
 * out.
 * @param protocol of the file
 */
export function parseListeners(text: string, protocol: 'tcp' | 'udp'): Listener[] {
  const waiting = protocol === 'tcp' ? TCP_LISTEN : UDP_UNCONNECTED;
  return text.split('\n').flatMap((line) => {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    const match = /^([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4})$/.exec(local);
    if (match === null || state !== waiting) return [];
    const [, address = '', port = ''] = match;
    const dotted = address.length === 8 ? toDotted(address) : fromIpv6(address);
    if (dotted === undefined) return [];
    return [{ address: dotted, port: parseInt(port, 16), inode: parseInt(inode, 10) || 0 }];
  });
}

function fromIpv6(hex: string): string | undefined {
  if (hex === ANY6) return '';
  const mapped = MAPPED6.exec(hex)?.[1];
  return mapped === undefined ? undefined : toDotted(mapped);
}

/** "0100007F" → "127.0.0.1"; "00000000" → every address. */
function toDotted(hex: string): string {
  const bytes = hex.match(/../g)?.map((byte) => parseInt(byte, 16)) ?? [];
  return bytes.every((byte) => byte === 0) ? '' : bytes.reverse().join('.');
}
