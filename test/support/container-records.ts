import { ContainerSpec, Limit } from '../../proto/gen/hatoba/v1/types.js';
import {
  NEW_STATUS,
  type ContainerEntry,
  type ContainerRecord,
  type ContainerStatus,
} from '../../runtime/container/record.js';
import type { ContainerConfig } from '../../runtime/engine.js';

/** A container as it lies on disk, with what a test says otherwise. */
export function anEntry(
  id: string,
  change: {
    config?: Partial<ContainerConfig>;
    record?: Partial<ContainerRecord>;
    status?: Partial<ContainerStatus>;
  } = {},
): ContainerEntry {
  const config: ContainerConfig = {
    id,
    name: id,
    spec: ContainerSpec.fromPartial({ image: 'box' }),
    limits: Limit.fromPartial({}),
    netns: 'host',
    cgroupGroup: 'group',
    dns: { nameservers: [], search: [], options: [] },
    hosts: [],
    log: { maxSizeBytes: 0, maxFiles: 1 },
    labels: {},
    ...change.config,
  };
  return {
    record: {
      config,
      imageId: 'sha256:box',
      image: {
        architecture: 'amd64',
        os: 'linux',
        entrypoint: [],
        cmd: ['sh'],
        env: [],
        workingDir: '',
        user: '',
        exposedPorts: [],
        volumes: [],
        stopSignal: '',
        healthcheck: undefined,
        labels: {},
      },
      command: ['sh'],
      mounts: [],
      cgroupPath: `/parent/group/${id}`,
      logPath: `/log/${id}`,
      stopSignal: 15,
      anonymousVolumes: {},
      createdAtMs: 0,
      ...change.record,
    },
    status: { ...NEW_STATUS, ...change.status },
  };
}
