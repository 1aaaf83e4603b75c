import { HatobaError } from '../../common/errors.js';
import { formatProblems, type ParsedStack } from './stack-file.js';

/** One mistake as the managers name it: by its place in the spec. */
interface Refusal {
  path: string;
  message: string;
}

/**
 * What the managers say against a stack, where it stands in its file; other errors as they are, and
 * what is about no part of the file behind the rest.
 */
export function inFile(error: unknown, { problemAt }: ParsedStack): unknown {
  if (!(error instanceof HatobaError)) return error;
  const refusals = refusalsOf(error.detail['problems']);
  const placed = refusals.map((r) => problemAt(r.path, r.message));
  const problems = placed.filter((p) => p !== undefined);
  if (problems.length === 0) return error;
  const others = refusals.filter((_, i) => placed[i] === undefined);
  const lines = others.map(({ path, message }) => (path === '' ? message : `${path}: ${message}`));
  const text = [formatProblems(problems), ...lines].join('\n');
  return new HatobaError(error.kind, `${text}\n`, { detail: error.detail });
}

function refusalsOf(value: unknown): Refusal[] {
  return Array.isArray(value) && value.every(isRefusal) ? value : [];
}

function isRefusal(value: unknown): value is Refusal {
  if (typeof value !== 'object' || value === null) return false;
  const { path, message } = value as Partial<Record<keyof Refusal, unknown>>;
  return typeof path === 'string' && typeof message === 'string';
}
