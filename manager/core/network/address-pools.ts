import {
  formatCidr,
  parseCidr,
  subnetOverlaps,
  type Cidr,
} from '../../../overlay-net/core/ipam.js';
import { HatobaError } from '../../../common/errors.js';
import type { HostRoute } from './proc-route.js';

export const DEFAULT_ADDRESS_POOLS: readonly string[] = ['10.128.0.0/9'];
export const DEFAULT_SUBNET_SIZE = 24;

/**
 * What is wrong with the pools of a cluster that is to be created. Pools that somebody chose must
 * lead nowhere yet; the default one may hold a host's subnet, which is then left out.
 */
export function poolProblems(
  {
    defaultAddressPools,
    subnetSize,
  }: { defaultAddressPools: readonly string[]; subnetSize: number },
  routes: readonly HostRoute[],
): string[] {
  const problems: string[] = [];
  const isChosen = defaultAddressPools.join() !== DEFAULT_ADDRESS_POOLS.join();
  const earlier: Cidr[] = [];
  for (const text of defaultAddressPools) {
    const pool = parsed(text, problems);
    if (pool === undefined) continue;
    if (pool.prefixLength > subnetSize) {
      problems.push(
        `address pool ${text} is smaller than the subnets of /${subnetSize} cut from it`,
      );
    }
    for (const other of earlier.filter((o) => subnetOverlaps(o, pool))) {
      problems.push(`address pool ${text} overlaps address pool ${formatCidr(other)}`);
    }
    earlier.push(pool);
    if (!isChosen) continue;
    for (const { subnet, link } of routes.filter((r) => subnetOverlaps(r.subnet, pool))) {
      problems.push(
        `address pool ${text} overlaps ${formatCidr(subnet)}, where this host has a route to ` +
          `(${link}): choose another pool`,
      );
    }
  }
  return problems;
}

function parsed(text: string, problems: string[]): Cidr | undefined {
  try {
    return parseCidr(text);
  } catch (error) {
    if (!(error instanceof HatobaError)) throw error;
    problems.push(`address pool ${error.message}`);
    return undefined;
  }
}
