import type { Container, ContainerRunState } from '../../proto/gen/hatoba/v1/engine.js';
import { agoText, portText, timeText } from './rows.js';

const ANY_ADDRESS = '0.0.0.0';

/** The JSON form of `hatoba ps`. Its fields are fixed; scripts count on them. */
export type ContainerRow = ReturnType<typeof containerRow>;
export function containerRow(container: Container, nowMs: number) {
  const { state } = container;
  return {
    id: container.id,
    name: container.name,
    image: container.image,
    imageId: container.imageId,
    command: container.command.join(' '),
    state: state?.status ?? '',
    status: statusText(state, nowMs),
    health: state?.health ?? 'none',
    exitCode: state?.exitCode ?? null,
    pid: state?.pid ?? 0,
    ports: container.ports.map((port) =>
      portText({
        ...port,
        hostIp: port.hostIp || ANY_ADDRESS,
        publishMode: 'PUBLISH_MODE_INGRESS',
      }),
    ),
    networks: container.networks.map((n) => ({ network: n.name, ip: n.ipAddress })),
    labels: container.labels,
    mounts: container.mounts.map((m) => (m.name === '' ? m.source : m.name)),
    task: container.taskName,
    restartCount: container.restartCount,
    sizeRwBytes: container.sizeRwBytes ?? null,
    createdAt: timeText(container.createdAtMs),
    startedAt: timeText(state?.startedAtMs ?? 0),
    finishedAt: timeText(state?.finishedAtMs ?? 0),
  };
}

/** "Up 3 minutes (healthy)", "Exited (0) 5 seconds ago": docker's words. */
export function statusText(state: ContainerRunState | undefined, nowMs: number): string {
  if (state === undefined) return '';
  const since = (ms: number): string => agoText(timeText(ms), nowMs);
  const up = `Up ${since(state.startedAtMs).replace(/ ago$/, '')}`;
  switch (state.status) {
    case 'running':
      return state.health === 'none' ? up : `${up} (${healthText(state.health)})`;
    case 'paused':
      return `${up} (Paused)`;
    case 'restarting':
      return `Restarting (${state.exitCode ?? 0}) ${since(state.finishedAtMs)}`.trim();
    case 'exited':
      return `Exited (${state.exitCode ?? 0}) ${since(state.finishedAtMs)}`.trim();
    default:
      return 'Created';
  }
}

function healthText(health: string): string {
  return health === 'starting' ? 'health: starting' : health;
}
