/**
 * Reads a Retry-After header: whole seconds ("120") or a date ("Wed, 21 Oct 2015 07:28:00 GMT").
 * @returns milliseconds from now, 0 for a date that is over; undefined for anything else
 * @see RFC 9110, section 10.2.3
 */
export function parseRetryAfter(header: string, nowMs: number): number | undefined {
  const text = header.trim();
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000;
  // what Date.parse would take besides, as "1.5" or "-1", is no date
  const atMs = /^[A-Za-z]{3,9},? /.test(text) ? Date.parse(text) : NaN;
  return Number.isNaN(atMs) ? undefined : Math.max(0, atMs - nowMs);
}
