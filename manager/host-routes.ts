import { readFile } from 'node:fs/promises';
import { isNetworkLink } from '../overlay-net/core/link-names.js';
import { parseRoutes, type HostRoute } from './core/network/proc-route.js';

/** Where routes of this host lead to, without those of Hatoba's own networks. */
export async function hostRoutes(): Promise<readonly HostRoute[]> {
  const routes = parseRoutes(await readFile('/proc/self/net/route', 'utf8'));
  return routes.filter(({ link }) => !isNetworkLink(link));
}
