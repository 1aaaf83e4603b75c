import { HatobaError } from './errors.js';

const FACTOR: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
  t: 1024 ** 4,
};

/**
 * Parses a compose-spec byte size: "512m", "1.5GB", "64kb", "1024". Units are powers of 1024, as
 * Docker reads them.
 * @throws {HatobaError} invalid-argument
 */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)i?(b?)$/i.exec(text.trim());
  const factor = FACTOR[match?.[2]?.toLowerCase() ?? ''];
  if (match === null || factor === undefined) {
    throw new HatobaError('invalid-argument', `"${text}" is not a size like 64k, 512m or 2g`);
  }
  return Math.round(Number(match[1]) * factor);
}

/** "12.5MiB": for people. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (value < 1024) return `${Number(value.toFixed(value < 10 && unit !== 'B' ? 1 : 0))}${unit}`;
    value /= 1024;
  }
  return `${Number(value.toFixed(1))}TiB`;
}
