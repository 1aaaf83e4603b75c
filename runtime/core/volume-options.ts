import { HatobaError } from '../../common/errors.js';

/** What is mounted to make a volume, as mount(8) takes it. */
export interface VolumeMountPlan {
  /** "none" for a bind, "tmpfs", "nfs", "ext4" … */
  readonly type: string;
  readonly device: string;
  /** The words of -o. */
  readonly options: readonly string[];
}

const KEYS = ['type', 'device', 'o'];

/** @throws {HatobaError} invalid-argument */
export function checkVolumeName(name: string): void {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/.test(name)) return;
  throw new HatobaError(
    'invalid-argument',
    `"${name}" is not a volume name: letters, digits, "_", "." and "-", the first a letter or digit`,
  );
}

/**
 * The options of Docker's driver "local".
 * @returns undefined for a volume that is a folder of its own
 * @throws {HatobaError} invalid-argument
 */
export function planVolumeMount(
  name: string,
  driverOpts: Readonly<Record<string, string>>,
): VolumeMountPlan | undefined {
  const unknown = Object.keys(driverOpts).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) {
    throw refused(name, `option "${unknown}" is none of ${KEYS.join(', ')}`);
  }
  const { type = '', device = '', o = '' } = driverOpts;
  if (type === '' && device === '' && o === '') return undefined;
  if (type === '') throw refused(name, 'option "type" is missing');
  if (device === '') throw refused(name, 'option "device" is missing');
  const options = o.split(',').filter((word) => word !== '');
  const isBind = options.some((word) => word === 'bind' || word === 'rbind');
  if (isBind && !device.startsWith('/')) {
    throw refused(name, `device "${device}" must be an absolute path to be bound`);
  }
  if (type === 'none' && !isBind) throw refused(name, 'type "none" needs the option o=bind');
  return { type, device, options };
}

function refused(name: string, why: string): HatobaError {
  return new HatobaError('invalid-argument', `volume ${name}: ${why}`);
}
