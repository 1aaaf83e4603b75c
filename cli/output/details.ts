/** One line of what is shown of an object; without a value it is left out. */
export type Detail = readonly [title: string, value: string];
/** Lines under a title of their own. */
export type DetailPart = readonly [title: string, lines: readonly Detail[]];

/** An object for people, as docker's `inspect --pretty`. */
export function detailsText(details: readonly (Detail | DetailPart)[]): string {
  return details
    .flatMap(([title, value]) =>
      typeof value === 'string' ? line(title, value) : part(title, value),
    )
    .join('\n');
}

function line(title: string, value: string, indent = ''): string[] {
  return value === '' ? [] : [`${`${indent}${title}:`.padEnd(17)}${value}`];
}

function part(title: string, lines: readonly Detail[]): string[] {
  const shown = lines.flatMap(([name, value]) => line(name, value, '  '));
  return shown.length === 0 ? [] : [`${title}:`, ...shown];
}

/** "disk=ssd zone=a" */
export function pairsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => (value === '' ? key : `${key}=${value}`))
    .join(' ');
}
