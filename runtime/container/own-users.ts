import { chownSync, lchownSync, lstatSync, readdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { HatobaError } from '../../common/errors.js';
import type { IdMap, Namespaces } from '../../linux/ports.js';

/** Listening on ports below 1024, and ping. */
const LENT_NETWORK = {
  'net.ipv4.ip_unprivileged_port_start': '0',
  'net.ipv4.ping_group_range': '0 2147483647',
};
const OTHERS_MAY_PASS = 0o001;

/**
 * Root of a container with users of its own is nobody on the machine: it must be let through to its
 * root file system.
 * @throws {HatobaError} failed-precondition naming the folder that is closed
 */
export function checkReachable(rootDir: string): void {
  for (let folder = dirname(rootDir); folder !== '/'; folder = dirname(folder)) {
    if ((statSync(folder).mode & OTHERS_MAY_PASS) !== 0) continue;
    throw new HatobaError(
      'failed-precondition',
      `a container with users of its own cannot reach its files: run "chmod o+x ${folder}"`,
    );
  }
}

/** A volume that holds nothing yet is its first user's, as in Docker. */
export function lendVolume(folder: string, { uids, gids }: IdMap): void {
  const { uid, gid } = statSync(folder);
  if (uid !== 0 || gid !== 0 || readdirSync(folder).length > 0) return;
  chownSync(folder, uids.firstId, gids.firstId);
}

/**
 * What the engine itself has made in a root on the way to `folder`: nothing else there belongs to
 * the machine's root.
 * @param folder below `rootDir`, without symbolic links
 */
export function lendFolders(rootDir: string, folder: string, { uids, gids }: IdMap): void {
  for (let path = folder; path.length > rootDir.length; path = dirname(path)) {
    const { uid, gid } = lstatSync(path);
    if (uid === 0 && gid === 0) lchownSync(path, uids.firstId, gids.firstId);
  }
}

/**
 * The network was made by the machine's root, and root of the container is none there: what it could
 * do with one of its own without being asked, anybody may.
 * @param netns see ContainerConfig
 */
export async function lendNetwork(
  netns: string,
  namespaces: Pick<Namespaces, 'setSysctls'>,
): Promise<void> {
  if (netns.startsWith('/')) await namespaces.setSysctls(LENT_NETWORK, netns);
}
