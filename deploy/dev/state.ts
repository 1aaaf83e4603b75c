import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { errnoOf } from '../../common/errors.js';
import { DEV_ROOT, DEV_RUN, type Host } from './layout.js';

/** /var/lib/hatoba/dev/cluster.json: what `dev up` made, so that later commands find it. */
export interface DevCluster {
  hosts: Host[];
  /** Hosts whose link was cut by `dev partition`. */
  partitioned: string[];
  /** `dev up` switched forwarding on for the machine, so `dev down` switches it off. */
  switchedForwarding: boolean;
  insecureRegistries: string[];
}

const FILE = `${DEV_ROOT}/cluster.json`;

/** The cluster there is; undefined when there is none. */
export async function readDevCluster(): Promise<DevCluster | undefined> {
  try {
    return JSON.parse(await readFile(FILE, 'utf8')) as DevCluster;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

export async function writeDevCluster(cluster: DevCluster): Promise<void> {
  await mkdir(DEV_ROOT, { recursive: true });
  await writeFile(`${FILE}.new`, `${JSON.stringify(cluster, null, 2)}\n`);
  await rename(`${FILE}.new`, FILE);
}

/** Removes every file of the cluster; nothing may be mounted there any more. */
export async function removeDevFiles(): Promise<void> {
  await rm(DEV_ROOT, { recursive: true, force: true });
  await rm(DEV_RUN, { recursive: true, force: true });
}
