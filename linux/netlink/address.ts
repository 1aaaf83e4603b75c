import { isIPv4, isIPv6 } from 'node:net';
import { HatobaError } from '../../common/errors.js';
import { AF_INET, AF_INET6 } from './constants.js';

/** "02:42:0a:00:00:05" as its six bytes. @throws {HatobaError} invalid-argument */
export function parseMac(text: string): Buffer {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) {
    throw new HatobaError('invalid-argument', `"${text}" is not a MAC address`);
  }
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

export function formatMac(bytes: Uint8Array): string {
  return [...bytes].map((b) => b.toString(16).padStart(2, '0')).join(':');
}

/** An address as its 4 or 16 bytes in network order. @throws {HatobaError} invalid-argument */
export function parseIp(text: string): Buffer {
  if (isIPv4(text)) return Buffer.from(text.split('.').map(Number));
  if (isIPv6(text) && !text.includes('.') && !text.includes('%')) {
    const [head = '', tail] = text.split('::');
    const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
    const [left, right] = [groups(head), groups(tail ?? '')];
    const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
    const all = [...left, ...(tail === undefined ? [] : zeros), ...right];
    return Buffer.from(all.map((g) => g.padStart(4, '0')).join(''), 'hex');
  }
  throw new HatobaError('invalid-argument', `"${text}" is not an IP address`);
}

/** IPv6 in full, without the "::" abbreviation. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  const hex = Buffer.from(bytes).toString('hex');
  return (hex.match(/.{4}/g) ?? []).map((g) => g.replace(/^0{1,3}/, '')).join(':');
}

/** "10.0.0.1/24" → its bytes and prefix; a bare address has the full prefix. */
export function parseCidr(text: string): { address: Buffer; prefix: number } {
  const [ip = '', length] = text.split('/', 2);
  const address = parseIp(ip);
  const full = address.length * 8;
  const prefix = length === undefined ? full : Number(length);
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > full || length === '') {
    throw new HatobaError('invalid-argument', `"${text}" is not an address with a prefix length`);
  }
  return { address, prefix };
}

export function familyOf(address: Uint8Array): number {
  return address.length === 4 ? AF_INET : AF_INET6;
}
