/** Numbers of DNS messages (RFC 1035, 4.1; RFC 6891). */

export const HEADER_BYTES = 12;
/** In the third byte of a message. */
export const OPCODE_MASK = 0x78;

export const TYPE = { A: 1, PTR: 12, OPT: 41, IXFR: 251, AXFR: 252, ANY: 255 } as const;

export const RCODE = {
  ok: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
  /** Of EDNS; its upper bits are in the OPT record. */
  badVersion: 16,
} as const;
