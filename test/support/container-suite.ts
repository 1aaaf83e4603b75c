import { readFileSync } from 'node:fs';
import type { CgroupController } from '../../runtime/core/cgroup-writes.js';
import { detectCgroups } from '../../runtime/cgroup/cgroup-fs.js';
import type { ContainerState } from '../../runtime/engine.js';
import type { DeepPartial, Mount } from '../../proto/gen/hatoba/v1/types.js';
import { openContainerRig, type ContainerRig } from './container-rig.js';
import { requiresCommand, requiresRoot } from './requires.js';

/**
 * One rig for all tests of a suite, emptied after each; skips the suite where containers cannot run.
 * @returns the rig, from the first test on
 */
export function useContainerRig(): () => ContainerRig {
  let rig: ContainerRig | undefined;
  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon']) requiresCommand(this, command);
    rig = await openContainerRig();
  });
  afterEach(async () => {
    for (const { config } of rig?.containers.list() ?? []) {
      await rig?.containers.remove(config.id, { force: true });
    }
  });
  after(async () => {
    await rig?.close();
  });
  return () => {
    if (rig === undefined) throw new Error('the rig is opened by the first test');
    return rig;
  };
}

/** Mounts of the host's programs with their libraries, read-only: "/usr/bin/perl" runs with them. */
export const HOST_TOOLS: DeepPartial<Mount>[] = [
  { type: 'MOUNT_TYPE_BIND', source: '/usr', target: '/usr', readOnly: true },
  { type: 'MOUNT_TYPE_BIND', source: '/lib', target: '/lib', readOnly: true },
  ...(process.arch === 'x64'
    ? [{ type: 'MOUNT_TYPE_BIND' as const, source: '/lib64', target: '/lib64', readOnly: true }]
    : []),
];

const LAYOUT = detectCgroups();
export const CGROUP_VERSION = LAYOUT.version;

/** Text of a file of a cgroup, without the line end. @param path "/parent/group/id" */
export function readCgroup(
  path: string,
  controller: CgroupController | 'cpuacct',
  file: { v1: string; v2: string },
): string {
  const name = LAYOUT.version === 1 ? file.v1 : file.v2;
  return readFileSync(`${LAYOUT.controllers[controller] ?? ''}${path}/${name}`, 'utf8').trim();
}

/** As readCgroup, of a container's own. */
export function readOwnCgroup(
  state: ContainerState | undefined,
  controller: CgroupController | 'cpuacct',
  file: { v1: string; v2: string },
): string {
  return readCgroup(state?.cgroupPath ?? '/none', controller, file);
}
