/** One line of /proc/<pid>/mountinfo; see proc(5). */
export interface MountEntry {
  id: number;
  /** What of its file system is mounted: "/" or the source of a bind. */
  root: string;
  target: string;
  /** "shared:1", "master:2" …; empty for a private mount. */
  propagation: readonly string[];
  type: string;
  source: string;
  superOptions: readonly string[];
}

/**
 * Reads the text of a mountinfo file, in its own order: a mount comes after the one it is on.
 * Lines that do not have its form are left out.
 */
export function parseMountinfo(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const [front, back] = line.split(' - ', 2);
    if (front === undefined || back === undefined) continue;
    const [id, , , root, target, , ...propagation] = front.split(' ');
    const [type, source, superOptions] = back.split(' ');
    if (id === undefined || root === undefined || target === undefined || type === undefined) {
      continue;
    }
    entries.push({
      id: Number(id),
      root: unescapeOctal(root),
      target: unescapeOctal(target),
      propagation: propagation.filter((p) => p !== ''),
      type,
      source: unescapeOctal(source ?? ''),
      superOptions: (superOptions ?? '').split(',').map(unescapeOctal),
    });
  }
  return entries;
}

/** The mount seen at `target`: the topmost, where several are stacked. */
export function findMount(entries: readonly MountEntry[], target: string): MountEntry | undefined {
  return entries.findLast((e) => e.target === target);
}

/** Mount points at or under `prefix`, each once, deepest last. */
export function mountPointsUnder(entries: readonly MountEntry[], prefix: string): string[] {
  const base = prefix.endsWith('/') ? prefix.slice(0, -1) : prefix;
  const targets = entries
    .map((e) => e.target)
    .filter((t) => t === base || t.startsWith(`${base}/`) || base === '');
  const depth = (path: string): number => path.split('/').length;
  return [...new Set(targets)].sort((a, b) => depth(a) - depth(b) || (a < b ? -1 : 1));
}

/** Whether the mount receives what is mounted by others of its group or above. */
export function isShared(entry: MountEntry): boolean {
  return entry.propagation.some((p) => p.startsWith('shared:'));
}

/** The kernel writes space, tab, newline and backslash as three octal digits. */
function unescapeOctal(text: string): string {
  if (!text.includes('\\')) return text;
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
