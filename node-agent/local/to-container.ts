import type { Task } from '../../common/model/objects.js';
import { endpointMac } from '../../overlay-net/core/mac.js';
import type {
  Container,
  ContainerNetwork,
  ContainerRunState,
  MountPoint,
} from '../../proto/gen/hatoba/v1/engine.js';
import type { PortConfig } from '../../proto/gen/hatoba/v1/types.js';
import type { ContainerMount, ContainerState } from '../../runtime/engine.js';
import { attachmentOf, networkMode, type Attachment } from './attachment.js';
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
    ports: attachment === undefined ? (task?.hostPorts ?? []) : portsOf(attachment),
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
  if (attachment.mode === 'host') return [{ ...NOWHERE, name: 'host' }];
  if (attachment.mode !== 'bridge') return [];
  const { address, gateway } = attachment;
  return [toNetwork(BRIDGE.name, address, gateway)];
}

function taskNetworks(task: Task | undefined): ContainerNetwork[] {
  return (task?.networksAttachments ?? []).map(({ networkName, addresses: [address = ''] }) =>
    toNetwork(networkName, address, ''),
  );
}

const NOWHERE: ContainerNetwork = { name: '', ipAddress: '', gateway: '', macAddress: '' };

function toNetwork(name: string, cidr: string, gateway: string): ContainerNetwork {
  const ipAddress = cidr.split('/')[0] ?? '';
  if (ipAddress === '') return { ...NOWHERE, name };
  return { name, ipAddress, gateway, macAddress: endpointMac(ipAddress) };
}

function taskMode({ config }: ContainerState): string {
  return config.netns === 'host' ? 'host' : 'overlay';
}

function portsOf(attachment: Attachment): PortConfig[] {
  return attachment.mode === 'bridge' ? [...attachment.ports] : [];
}

function toMountPoint(mount: ContainerMount): MountPoint {
  const { type, name, source, destination, readOnly, propagation } = mount;
  return { type, name, source, destination, rw: !readOnly, propagation };
}
