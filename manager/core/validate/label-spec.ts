import type { Problems } from './problem.js';

/** Labels of whatever object. */
export function checkLabels(labels: Readonly<Record<string, string>>, problems: Problems): void {
  for (const key of Object.keys(labels)) {
    problems.require(/^[^\s=]+$/.test(key), `"${key}" is not the name of a label`);
  }
}
