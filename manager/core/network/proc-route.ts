import { subnetOf, type Cidr } from '../../../overlay-net/core/ipam.js';

export interface HostRoute {
  readonly subnet: Cidr;
  /** The link it leads out of: "eth0". */
  readonly link: string;
}

/** The routes in /proc/net/route, without the default route, which leads anywhere. */
export function parseRoutes(text: string): HostRoute[] {
  return text.split('\n').flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [link = '', destination = '', , , , , , mask = ''] = fields;
    if (!/^[0-9A-F]{8}$/.test(destination) || !/^[0-9A-F]{8}$/.test(mask)) return [];
    const prefixLength = ones(toNumber(mask));
    return prefixLength === 0
      ? []
      : [{ subnet: subnetOf(toNumber(destination), prefixLength), link }];
  });
}

/** "0000A8C0" → 192.168.0.0: the last byte first. */
function toNumber(hex: string): number {
  return (hex.match(/../g) ?? []).reduceRight((value, byte) => value * 256 + parseInt(byte, 16), 0);
}

function ones(mask: number): number {
  return mask.toString(2).replaceAll('0', '').length;
}
