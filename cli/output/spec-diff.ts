import { toWord } from '../../common/model/words.js';

/**
 * What differs between two specs, field by field: "taskTemplate.containerSpec.image: web:1 → web:2".
 * Fields that are absent or empty on both sides are not there; of lists of words it is told what came
 * and went.
 */
export function specDiff(before: unknown, after: unknown, path = ''): string[] {
  if (isWords(before) && isWords(after)) return listDiff(before, after, path);
  const fields = new Set([...fieldsOf(before), ...fieldsOf(after)]);
  if (fields.size > 0) {
    return [...fields].flatMap((field) =>
      specDiff(at(before, field), at(after, field), nested(path, field, before ?? after)),
    );
  }
  const [was, is] = [textOf(before), textOf(after)];
  if (was === is) return [];
  if (was === '') return [`${path}: ${is}`];
  return [`${path}: ${was} → ${is === '' ? 'none' : is}`];
}

function listDiff(before: readonly string[], after: readonly string[], path: string): string[] {
  const [gone, come] = [without(before, after), without(after, before)];
  if (gone.length === 0 && come.length === 0 && before.join('\0') !== after.join('\0')) {
    return [`${path}: ${before.join(' ')} → ${after.join(' ')}`]; // in another order
  }
  return [...gone.map((w) => `${path}: − ${w}`), ...come.map((w) => `${path}: + ${w}`)];
}

function without(words: readonly string[], others: readonly string[]): string[] {
  return words.filter((word) => !others.includes(word));
}

function isWords(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((v) => typeof v === 'string');
}

function fieldsOf(value: unknown): string[] {
  return typeof value === 'object' && value !== null && !ArrayBuffer.isView(value)
    ? Object.keys(value)
    : [];
}

function at(value: unknown, field: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, field) : undefined;
}

/** The generated names of the parts of a union say nothing to people. */
function nested(path: string, field: string, parent: unknown): string {
  if (field === '$case' || (field === 'value' && at(parent, '$case') !== undefined)) return path;
  if (Array.isArray(parent)) return `${path}[${field}]`;
  return path === '' ? field : `${path}.${field}`;
}

/** Empty for what is absent, or as good as. */
function textOf(value: unknown): string {
  if (value === undefined || value === null || value === '' || fieldless(value)) return '';
  if (typeof value === 'string') return /^[A-Z]+(_[A-Z]+)+$/.test(value) ? toWord(value) : value;
  return JSON.stringify(value);
}

function fieldless(value: unknown): boolean {
  return typeof value === 'object' && fieldsOf(value).length === 0;
}
