import { checkUlimit, type UlimitName } from '../../common/model/ulimits.js';
import type { Ulimit } from '../../proto/gen/hatoba/v1/types.js';
import type { OciRlimit, RlimitValue } from './oci-spec.js';

/** Docker's names → the row of /proc/self/limits. */
const ROWS: Readonly<Record<UlimitName, string>> = {
  as: 'Max address space',
  core: 'Max core file size',
  cpu: 'Max cpu time',
  data: 'Max data size',
  fsize: 'Max file size',
  locks: 'Max file locks',
  memlock: 'Max locked memory',
  msgqueue: 'Max msgqueue size',
  nice: 'Max nice priority',
  nofile: 'Max open files',
  nproc: 'Max processes',
  rss: 'Max resident set',
  rtprio: 'Max realtime priority',
  rttime: 'Max realtime timeout',
  sigpending: 'Max pending signals',
  stack: 'Max stack size',
};

/** Hard limits by Docker's names. */
export type HardLimits = ReadonlyMap<string, RlimitValue>;

/** @param text /proc/self/limits */
export function parseHardLimits(text: string): HardLimits {
  const limits = new Map<string, RlimitValue>();
  for (const [name, row] of Object.entries(ROWS)) {
    const line = text.split('\n').find((l) => l.startsWith(row));
    const hard =
      line === undefined ? undefined : /^\s+\S+\s+(\S+)/.exec(line.slice(row.length))?.[1];
    if (hard !== undefined) limits.set(name, hard === 'unlimited' ? 'unlimited' : Number(hard));
  }
  return limits;
}

/**
 * The resource limits of a container. -1 means unlimited. Values above the engine's own hard limit
 * are lowered to it: without CAP_SYS_RESOURCE nobody can raise them, and the container would not
 * start at all.
 * @throws {HatobaError} invalid-argument for an unknown name, or soft above hard
 */
export function planRlimits(ulimits: readonly Ulimit[], own: HardLimits): readonly OciRlimit[] {
  return ulimits.map(({ name, soft, hard }) => {
    checkUlimit({ name, soft, hard });
    const ceiling = own.get(name) ?? 'unlimited';
    return {
      type: `RLIMIT_${name.toUpperCase()}`,
      soft: lower(soft, ceiling),
      hard: lower(hard, ceiling),
    };
  });
}

function lower(wanted: number, ceiling: RlimitValue): RlimitValue {
  if (wanted === -1) return ceiling;
  return ceiling === 'unlimited' ? wanted : Math.min(wanted, ceiling);
}
