import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { IdMap } from '../../linux/ports.js';
import { cgroupPathOf } from '../core/cgroup-plan.js';
import { planHealthCheck } from '../core/health-machine.js';
import { planIdMap } from '../core/id-map.js';
import type { LayerId } from '../core/layer-chain.js';
import { planWantedMounts, type WantedMount } from '../core/mount-plan.js';
import { parseNamespaceModes } from '../core/namespace-plan.js';
import { planArgs } from '../core/process-plan.js';
import { checkRestartRule } from '../core/restart-policy.js';
import { parseSignal } from '../../common/model/signals.js';
import type { ContainerConfig, ContainerMount } from '../engine.js';
import type { ImageLookup } from '../image/image-lookup.js';
import type { Volumes } from '../volume/volumes.js';
import type { ContainerPaths } from './paths.js';
import type { ContainerRecord } from './record.js';

export interface PlanModules {
  paths: ContainerPaths;
  cgroupParent: string;
  images: ImageLookup;
  volumes: Pick<Volumes, 'anonymousName'>;
  clock: Clock;
  /** What containers with users of their own get. */
  offeredIds: IdMap;
}

/**
 * What a container is made from: all that can be refused before anything is touched.
 * @throws {HatobaError} invalid-argument; not-found for the image
 */
export async function planContainer(
  config: ContainerConfig,
  modules: PlanModules,
): Promise<{ record: ContainerRecord; chain: readonly LayerId[] }> {
  const { spec } = config;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(config.id)) {
    throw new HatobaError('invalid-argument', `"${config.id}" cannot be a container's id`);
  }
  checkRestartRule(config.restart, config.autoRemove === true);
  const found = await modules.images.lookup(spec.image);
  if (found === undefined) {
    throw new HatobaError(
      'not-found',
      `image "${spec.image}" is not on this machine; pull or load it first`,
    );
  }
  const { image, config: imageConfig, chain } = found;
  const idMap = planIdMap(spec, parseNamespaceModes(spec, config.netns), modules.offeredIds);
  const wanted = planWantedMounts(spec.mounts, imageConfig.volumes);
  const anonymousVolumes = Object.fromEntries(
    wanted
      .filter((m) => m.type === 'volume' && m.name === '')
      .map((m) => [m.target, modules.volumes.anonymousName()]),
  );
  const health = planHealthCheck(spec.healthcheck, imageConfig.healthcheck);
  const record: ContainerRecord = {
    config,
    imageId: image.id,
    image: imageConfig,
    command: planArgs({ ...spec, init: false }, imageConfig),
    mounts: wanted.map((m) => describeMount(m, anonymousVolumes, modules.paths)),
    cgroupPath: cgroupPathOf(modules.cgroupParent, config.cgroupGroup, config.id),
    logPath: modules.paths.of(config.id).log,
    stopSignal: parseSignal(
      [spec.stopSignal, imageConfig.stopSignal].find((s) => s !== '') ?? 'SIGTERM',
    ),
    anonymousVolumes,
    ...(health !== undefined && { health }),
    ...(idMap !== undefined && { idMap }),
    createdAtMs: modules.clock.nowMs(),
  };
  return { record, chain };
}

function describeMount(
  mount: WantedMount,
  anonymous: Readonly<Record<string, string>>,
  paths: ContainerPaths,
): ContainerMount {
  const { type, target: destination, readOnly } = mount;
  if (type === 'tmpfs') {
    return { type, name: '', source: '', destination, readOnly, propagation: '' };
  }
  if (type === 'bind') {
    const { source, propagation } = mount;
    return { type, name: '', source, destination, readOnly, propagation };
  }
  const name = anonymous[destination] ?? mount.name;
  const source = `${paths.volumes}/${name}/_data`;
  return { type, name, source, destination, readOnly, propagation: '' };
}
