import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import type { Clock } from '../../common/clock.js';
import { describeError, HatobaError, kindOf } from '../../common/errors.js';
import type { Spawner } from '../../linux/ports.js';
import type { CgroupFs } from '../cgroup/cgroup-fs.js';
import { planWeightWrites } from '../core/cgroup-writes.js';
import { formatOciJson, type OciSpec } from '../core/oci-spec.js';
import { stdinEndsWithClient } from '../core/process-plan.js';
import { explainStartFailure } from '../core/start-failure.js';
import { createUnderConmon } from '../oci/conmon.js';
import type { Crun } from '../oci/crun.js';
import { endMakers } from '../oci/makers.js';
import type { Snapshotter } from '../snapshot/snapshotter.js';
import { identifyProcess, type ProcessIdentity } from './process-identity.js';
import type { ContainerRecord } from './record.js';
import { buildRunSpec, type RunSpecModules } from './run-spec.js';
import type { Teardown } from './teardown.js';

export interface RunModules extends RunSpecModules {
  snapshotter: Snapshotter;
  cgroups: CgroupFs;
  crun: Crun;
  spawner: Spawner;
  clock: Clock;
  teardown: Teardown;
  bootId: string;
}

/** The processes of a run; one that has ended already has no identity any more. */
export interface RunProcesses {
  process: ProcessIdentity | undefined;
  conmon: ProcessIdentity | undefined;
}

/**
 * What is made for each run of a container: its root mounted, the bundle, the cgroup, and a process
 * that waits to be let go. When it throws, `endRun` takes away what it has made.
 * @param options.isFirst see buildRunSpec
 */
export async function makeRun(
  record: ContainerRecord,
  options: { isFirst: boolean },
  modules: RunModules,
): Promise<RunProcesses> {
  const { paths, snapshotter } = modules;
  const { id } = record.config;
  const files = paths.of(id);
  mkdirSync(files.bundle, { recursive: true, mode: 0o700 });
  // conmon of an earlier run, or of an earlier attempt under this id, may have left one.
  rmSync(paths.exitOf(id), { force: true });
  const { rootDir } = await snapshotter.mount(id);
  const { spec, seccomp } = await buildRunSpec(record, { rootDir, ...options }, modules);
  writeFileSync(files.spec, formatOciJson(spec), { mode: 0o600 });
  await modules.groupLimits.apply(record.config.cgroupGroup);
  const processes = await createProcess(record, modules).catch((error: unknown) => {
    throw explain(error, spec);
  });
  if (seccomp !== undefined && 'key' in seccomp) {
    modules.seccomp.keep(seccomp.key, paths.crunOf(id));
  }
  return processes;
}

/** Takes a run away, whole or half made, with every process of it. */
export async function endRun(record: ContainerRecord, modules: RunModules): Promise<void> {
  const { paths, teardown, clock } = modules;
  const { bundle } = paths.of(record.config.id);
  // They may still be at work when they were too slow, or when their engine was killed.
  if (existsSync(bundle)) await endMakers(bundle, clock);
  await teardown.run(record.config.id, record);
}

/** Without its cause, which says the same in crun's words. */
function explain(error: unknown, { process }: OciSpec): HatobaError {
  const text = explainStartFailure(describeError(error), process.args[0] ?? '');
  return new HatobaError(kindOf(error), text);
}

async function createProcess(record: ContainerRecord, modules: RunModules): Promise<RunProcesses> {
  const { id, name, spec, limits, log } = record.config;
  const files = modules.paths.of(id);
  const { pid, conmonPid } = await createUnderConmon(
    {
      id,
      name,
      bundle: files.bundle,
      log: log.driver === 'none' ? undefined : files.log,
      exitDir: modules.paths.exits,
      pidFile: files.pidFile,
      conmonPidFile: files.conmonPidFile,
      terminal: spec.tty,
      stdin: spec.openStdin,
      stdinOnce: stdinEndsWithClient(spec),
    },
    modules,
  );
  const writes = planWeightWrites(limits, modules.host.cgroupVersion);
  await modules.cgroups.write(record.cgroupPath, writes);
  return {
    process: identifyProcess(pid, modules.bootId),
    conmon: identifyProcess(conmonPid, modules.bootId),
  };
}
