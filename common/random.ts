/** Randomness as an argument, so that a simulation replays from a seed. */
export interface Random {
  /** A float in [0, 1). */
  next(): number;
  /** `length` random bytes; for secrets only from the system's source. */
  bytes(length: number): Uint8Array;
}
