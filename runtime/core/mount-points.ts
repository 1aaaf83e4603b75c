/**
 * The mount points below a folder, itself not among them.
 * @param mountinfo the text of /proc/self/mountinfo
 * @see proc_pid_mountinfo(5): the fifth field is the mount point, with blanks written in octal
 */
export function mountPointsBelow(folder: string, mountinfo: Uint8Array): string[] {
  const lines = new TextDecoder().decode(mountinfo).split('\n');
  const points = lines.map((line) => unescape(line.split(' ')[4] ?? ''));
  return [...new Set(points.filter((point) => point.startsWith(`${folder}/`)))];
}

function unescape(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  );
}
