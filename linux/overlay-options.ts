import { HatobaError } from '../common/errors.js';
import type { OverlayMount } from './ports.js';

/** mount(2) takes one page, of which the last byte is NUL. */
const MAX_DATA_BYTES = 4095;

/** Whether the option string of an overlay is one that mount(2) takes. */
export function fitsMountData(request: OverlayMount): boolean {
  return Buffer.byteLength(overlayOptions(request)) <= MAX_DATA_BYTES;
}

/**
 * The option string of an overlay for mount(2), for kernels that cannot take layers one by one.
 * @throws {HatobaError} resource-exhausted when it is longer than they take
 */
export function overlayData(request: OverlayMount): string {
  if (fitsMountData(request)) return overlayOptions(request);
  throw new HatobaError(
    'resource-exhausted',
    `mounting an overlay on ${request.target}: its ${request.lowerDirs.length} layers do not ` +
      'fit the 4096 bytes this kernel allows; use Linux 6.8 or later, or fewer layers',
  );
}

function overlayOptions({ lowerDirs, upperDir, workDir }: OverlayMount): string {
  // ":" parts layers and "," parts options; a backslash keeps either.
  const escape = (path: string): string => path.replace(/[\\,:]/g, '\\$&');
  const lower = lowerDirs.map(escape).join(':');
  return `lowerdir=${lower},upperdir=${escape(upperDir)},workdir=${escape(workDir)}`;
}
