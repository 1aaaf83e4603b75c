/**
 * What the first entry of a path's tar is called: its last part, or "." for the contents of a
 * directory ("/etc/.", "/").
 */
export function topNameOf(path: string): string {
  if (/(^|\/)\.\/?$/.test(path)) return '.';
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  const last = parts.at(-1);
  // ".." has no name of its own to give
  return last === undefined || last === '..' ? '.' : last;
}
