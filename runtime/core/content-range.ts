/** Which bytes of a whole a partial answer has. */
export interface ContentRange {
  readonly start: number;
  /** The last byte, counted in. */
  readonly end: number;
  /** Undefined where the server does not say. */
  readonly totalBytes: number | undefined;
}

/**
 * Reads a Content-Range header: "bytes 10-99/100", "bytes 10-99/*".
 * @returns undefined for anything else, also for numbers that contradict each other
 * @see RFC 9110, section 14.4
 */
export function parseContentRange(header: string): ContentRange | undefined {
  const parts = /^\s*bytes\s+(\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)\s*$/i.exec(header);
  if (parts === null) return undefined;
  const [start, end] = [Number(parts[1]), Number(parts[2])];
  const totalBytes = parts[3] === '*' ? undefined : Number(parts[3]);
  const isSound = start <= end && (totalBytes === undefined || end < totalBytes);
  return isSound ? { start, end, totalBytes } : undefined;
}

/**
 * How many bytes of an upload a registry has, by the Range header of its answer: "0-99" is 100.
 * "0-0" is none: so the common registries say it, though the specification would have one.
 * @returns undefined when there is no such header
 */
export function parseUploadedBytes(header: string): number | undefined {
  const end = /^\s*(?:bytes=)?0-(\d{1,16})\s*$/i.exec(header)?.[1];
  if (end === undefined) return undefined;
  return end === '0' ? 0 : Number(end) + 1;
}
