import type {
  DeepPartial,
  ServiceSpec,
  StackSpec,
  TaintEffect,
} from '../../proto/gen/hatoba/v1/types.js';

/** What users ask for. */
export type Action =
  | { readonly do: 'create'; readonly service: string; readonly spec: DeepPartial<ServiceSpec> }
  | { readonly do: 'update'; readonly service: string; readonly spec: DeepPartial<ServiceSpec> }
  | { readonly do: 'scale'; readonly service: string; readonly replicas: number }
  | { readonly do: 'rollback' | 'remove'; readonly service: string }
  /** Of a rolling update; and equal tasks in place of all. */
  | { readonly do: 'pause' | 'resume' | 'restart'; readonly service: string }
  | { readonly do: 'drain' | 'activate' | 'pause-node'; readonly node: string }
  | { readonly do: 'label'; readonly node: string; readonly label: string; readonly value: string }
  /** Without an effect: none any more. */
  | { readonly do: 'taint'; readonly node: string; readonly effect?: TaintEffect }
  | { readonly do: 'deploy'; readonly stack: string; readonly spec: DeepPartial<StackSpec> }
  | { readonly do: 'remove-stack'; readonly stack: string };

/** What goes wrong. What lasts names for how long. */
export type Fault =
  | { readonly do: 'crash-manager'; readonly host: string; readonly forMs: number }
  /** Its process stands still, as by SIGSTOP. */
  | { readonly do: 'pause-manager'; readonly host: string; readonly forMs: number }
  | {
      readonly do: 'restart-agent';
      readonly host: string;
      readonly forMs: number;
      readonly isOrderly: boolean;
    }
  | { readonly do: 'power-off'; readonly host: string; readonly forMs: number }
  /** It never comes back, unless no manager is left. */
  | { readonly do: 'die'; readonly host: string }
  /** Nothing that `from` sends reaches `to`. */
  | { readonly do: 'cut'; readonly from: string; readonly to: string; readonly forMs: number }
  /** A host reaches no other, and none reaches it. */
  | { readonly do: 'isolate'; readonly host: string; readonly forMs: number }
  | { readonly do: 'cut-store'; readonly host: string; readonly forMs: number }
  | { readonly do: 'lose-watches' | 'repeat-events'; readonly host: string }
  | { readonly do: 'compact' }
  /** The next commit of whoever leads then. */
  | { readonly do: 'lose-commit'; readonly isMade: boolean }
  /** The campaign key is gone, as when its lease has run out. */
  | { readonly do: 'depose' }
  | { readonly do: 'break-engine'; readonly host: string; readonly forMs: number }
  /** A container of the host ends, the n-th of those that run. */
  | {
      readonly do: 'kill-container';
      readonly host: string;
      readonly nth: number;
      readonly code: number;
    }
  | { readonly do: 'lossy-network'; readonly rate: number; readonly forMs: number };

export type Step = { readonly atMs: number } & (Action | Fault);

/** One run as data: with the same script the same happens. */
export interface Script {
  /** Of all that the steps leave open: how long each message takes, which ids there are. */
  readonly seed: number;
  readonly managers: number;
  readonly workers: number;
  /** Prefix length of the networks' subnets: small ones are soon used up. */
  readonly subnetSize: number;
  readonly steps: readonly Step[];
  /** From then on nothing goes wrong any more, and what was is repaired. */
  readonly quietAtMs: number;
}

/** m1, m2 …, then w1, w2 … */
export function hostNames({ managers, workers }: Pick<Script, 'managers' | 'workers'>): string[] {
  return [
    ...Array.from({ length: managers }, (_, i) => `m${i + 1}`),
    ...Array.from({ length: workers }, (_, i) => `w${i + 1}`),
  ];
}
