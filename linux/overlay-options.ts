import { HatobaError } from '../common/errors.js';
import type { OverlayMount } from './ports.js';

/** mount(2) takes one page, of which the last byte is NUL. */
const MAX_DATA_BYTES = 4095;

/**
 * The option string of an overlay for mount(2), for kernels that cannot take layers one by one.
 * `directory`, if given, must be the working directory during the call: the paths are relative to
 * it, which fits several times more layers in the one page there is.
 * @throws {HatobaError} resource-exhausted when even so they do not fit
 */
export function legacyOverlay(request: OverlayMount): { directory?: string; data: string } {
  const paths = [...request.lowerDirs, request.upperDir, request.workDir];
  const absolute = overlayOptions(request, (path) => path);
  if (Buffer.byteLength(absolute) <= MAX_DATA_BYTES) return { data: absolute };
  const directory = commonDirectory(paths);
  const relative = overlayOptions(request, (path) => path.slice(directory.length + 1));
  if (directory === '' || Buffer.byteLength(relative) > MAX_DATA_BYTES) {
    throw new HatobaError(
      'resource-exhausted',
      `mounting an overlay on ${request.target}: its ${request.lowerDirs.length} layers do not ` +
        'fit the 4096 bytes this kernel allows; use Linux 6.8 or later, or fewer layers',
    );
  }
  return { directory, data: relative };
}

function overlayOptions(request: OverlayMount, shorten: (path: string) => string): string {
  // ":" parts layers and "," parts options; a backslash keeps either.
  const escape = (path: string): string => shorten(path).replace(/[\\,:]/g, '\\$&');
  const lower = request.lowerDirs.map(escape).join(':');
  return `lowerdir=${lower},upperdir=${escape(request.upperDir)},workdir=${escape(request.workDir)}`;
}

/** "/a" of "/a/b/c" and "/a/d/e"; empty where they share nothing but "/". */
function commonDirectory(paths: readonly string[]): string {
  const folders = paths.map((path) => path.split('/').slice(0, -1));
  const [first = []] = folders;
  const differs = (part: string, index: number): boolean => folders.some((f) => f[index] !== part);
  const end = first.findIndex(differs);
  return (end === -1 ? first : first.slice(0, end)).join('/');
}
