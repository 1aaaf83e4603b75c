interface Range {
  base: number;
  mask: number;
}

/** Reads "10.0.0.7" or "10.0.0.0/8". */
export function parseIpv4Range(text: string): Range | undefined {
  const [address = '', prefix = '32', ...rest] = text.split('/');
  const base = parseIpv4(address);
  const bits = Number(prefix);
  if (base === undefined || rest.length > 0 || !/^\d{1,2}$/.test(prefix) || bits > 32) {
    return undefined;
  }
  return { base, mask: bits === 0 ? 0 : (-1 << (32 - bits)) >>> 0 };
}

/** @param address may have a port, "10.0.0.7:4402" */
export function isInRange(address: string, range: string): boolean {
  const host = parseIpv4(address.split(':')[0] ?? '');
  const wanted = parseIpv4Range(range);
  if (host === undefined || wanted === undefined) return false;
  return (host & wanted.mask) >>> 0 === (wanted.base & wanted.mask) >>> 0;
}

function parseIpv4(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4 || !parts.every((p) => /^\d{1,3}$/.test(p) && Number(p) < 256)) {
    return undefined;
  }
  return parts.reduce((sum, p) => sum * 256 + Number(p), 0);
}
