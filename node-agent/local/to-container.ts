import type { Task } from '../../common/model/objects.js';
import { endpointMac } from '../../overlay-net/core/mac.js';
import {
  ContainerNetwork,
  type Container,
  type ContainerRunState,
  type MountPoint,
} from '../../proto/gen/hatoba/v1/engine.js';
import type { ContainerMount, ContainerState } from '../../runtime/engine.js';
import { attachmentOf, networkMode, portsOf, type Attachment } from './attachment.js';
import { BRIDGE } from './bridge-subnet.js';
import { isTaskContainer, taskNameOf } from './task-container.js';

/**
 * A container as users see it.
 * @param task the task that it runs, where the agent knows it
 */
export function toContainer(
  state: ContainerState,
  task: Task | undefined,
  sizeRwBytes?: number,
): Container {
  const { config } = state;
  const attachment = attachmentOf(config);
  const { restart } = config;
  return {
    id: config.id,
    name: config.name,
    image: config.spec.image,
    imageId: state.imageId,
    createdAtMs: state.createdAtMs,
    state: toRunState(state),
    spec: config.spec,
    limits: config.limits,
    restartPolicy: {
      name: restart?.name ?? 'no',
      maximumRetryCount: restart?.maximumRetryCount ?? 0,
    },
    restartCount: state.restartCount,
    autoRemove: config.autoRemove ?? false,
    networkMode: attachment === undefined ? taskMode(state) : networkMode(attachment),
    networks: attachment === undefined ? taskNetworks(task) : localNetworks(attachment),
    ports: attachment === undefined ? (task?.hostPorts ?? []) : [...portsOf(attachment)],
    mounts: state.mounts.map(toMountPoint),
    labels: { ...config.labels },
    logPath: state.logPath,
    cgroupPath: state.cgroupPath,
    command: [...state.command],
    ...(sizeRwBytes === undefined ? {} : { sizeRwBytes }),
    taskId: isTaskContainer(config) ? config.id : '',
    taskName: taskNameOf(config),
  };
}

function toRunState(state: ContainerState): ContainerRunState {
  const { status, pid, exitCode, oomKilled, error, health, healthOutput } = state;
  return {
    status,
    pid,
    ...(exitCode === undefined ? {} : { exitCode }),
    oomKilled,
    error,
    startedAtMs: state.startedAtMs ?? 0,
    finishedAtMs: state.finishedAtMs ?? 0,
    health,
    healthOutput,
  };
}

function localNetworks(attachment: Attachment): ContainerNetwork[] {
  switch (attachment.mode) {
    case 'host':
      return [ContainerNetwork.fromPartial({ name: 'host' })];
    case 'bridge': {
      const { address, gateway } = attachment;
      return [toNetwork(address, { name: BRIDGE.name, networkId: BRIDGE.id, gateway })];
    }
    case 'cluster':
      return attachment.networks.map(({ address, name, networkId, gateway, aliases }) =>
        toNetwork(address, { name, networkId, gateway, aliases: [...aliases] }),
      );
    default:
      return [];
  }
}

function taskNetworks(task: Task | undefined): ContainerNetwork[] {
  return (task?.networksAttachments ?? []).map(
    ({ networkName: name, networkId, aliases, addresses: [address = ''] }) =>
      toNetwork(address, { name, networkId, aliases }),
  );
}

function toNetwork(cidr: string, network: Partial<ContainerNetwork>): ContainerNetwork {
  const [ipAddress = '', prefix = '0'] = cidr.split('/');
  const place =
    ipAddress === ''
      ? {}
      : { ipAddress, prefixLength: Number(prefix), macAddress: endpointMac(ipAddress) };
  return ContainerNetwork.fromPartial({ ...network, ...place });
}

function taskMode({ config }: ContainerState): string {
  return config.netns === 'host' ? 'host' : 'overlay';
}

function toMountPoint(mount: ContainerMount): MountPoint {
  const { type, name, source, destination, readOnly, propagation } = mount;
  return { type, name, source, destination, rw: !readOnly, propagation };
}
