import { HatobaError } from '../../common/errors.js';
import type { OciDeviceRule } from './oci-spec.js';

/**
 * Docker's device rules: anything may be made with mknod, only harmless devices may be opened.
 * runc and crun write them in this order; the last rule that matches wins.
 */
export const DEFAULT_DEVICE_RULES: readonly OciDeviceRule[] = [
  { allow: false, access: 'rwm' },
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  ...(
    [
      [1, 3], // null
      [1, 5], // zero
      [1, 7], // full
      [1, 8], // random
      [1, 9], // urandom
      [5, 0], // tty
      [5, 1], // console
      [5, 2], // ptmx
    ] as const
  ).map(([major, minor]): OciDeviceRule => ({
    allow: true,
    type: 'c',
    major,
    minor,
    access: 'rwm',
  })),
  { allow: true, type: 'c', major: 136, access: 'rwm' }, // pts
];

/**
 * Reads a rule as the kernel writes it: "c 1:3 rwm", "b *:* m", "a *:* rwm".
 * @throws {HatobaError} invalid-argument
 */
export function parseDeviceRule(text: string): OciDeviceRule {
  const match = /^([abc]) (\d{1,9}|\*):(\d{1,9}|\*) ([rwm]{1,3})$/.exec(text);
  const [, type = '', major = '', minor = '', access = ''] = match ?? [];
  if (match === null || new Set(access).size !== access.length) {
    throw new HatobaError(
      'invalid-argument',
      `device rule "${text}" is none: it is TYPE MAJOR:MINOR ACCESS, for example "c 1:3 rwm" or "b *:* m"`,
    );
  }
  return {
    allow: true,
    type: type as 'a' | 'b' | 'c',
    ...(major !== '*' && { major: Number(major) }),
    ...(minor !== '*' && { minor: Number(minor) }),
    access,
  };
}
