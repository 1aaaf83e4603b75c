/** One thing that was not as it should be, and is again. */
export interface Repair {
  change: 'added' | 'removed' | 'changed';
  /** "neigh hb1001 10.0.1.7" */
  what: string;
}

/** A part of the kernel's state that this driver keeps as it was applied, whoever else changes it. */
export interface Checkable {
  /** For the log: "links", "nftables" … */
  readonly part: string;
  /** Whether something may differ. Changes nothing, and may run beside other work: it can be wrong. */
  isSuspect(): Promise<boolean>;
  /** Looks, and sets right what differs; called while nothing else is applied. */
  repair(): Promise<Repair[]>;
}
