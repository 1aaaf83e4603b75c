import type { Command } from 'commander';

/** Commands that are of one kind, under one title of `hatoba --help`. */
export interface CommandGroup {
  readonly title: string;
  readonly modules: readonly CommandModule[];
}
export interface CommandModule {
  /** The words after `hatoba`. */
  readonly commands: readonly string[];
  readonly load: () => Promise<(program: Command) => void>;
}

/**
 * Every command, and where it is. A module is loaded only when one of its commands is called, so
 * that `hatoba --version` does not wait for gRPC.
 */
export const COMMAND_GROUPS: readonly CommandGroup[] = [
  {
    title: 'Services and networks, on all machines of the cluster:',
    modules: [
      {
        commands: ['deploy', 'stack'],
        load: async () => (await import('./commands/stack.js')).registerStack,
      },
      {
        commands: ['service'],
        load: async () => (await import('./commands/service.js')).registerService,
      },
      {
        commands: ['rollout'],
        load: async () => (await import('./commands/rollout.js')).registerRollout,
      },
      {
        commands: ['network'],
        load: async () => (await import('./commands/network.js')).registerNetwork,
      },
      { commands: ['task'], load: async () => (await import('./commands/task.js')).registerTask },
    ],
  },
  {
    title: 'Containers, on this node:',
    modules: [
      {
        commands: ['run', 'create', 'start'],
        load: async () => (await import('./commands/container-run.js')).registerContainerRun,
      },
      {
        commands: ['ps', 'port'],
        load: async () => (await import('./commands/container-ls.js')).registerContainerListings,
      },
      {
        commands: ['inspect'],
        load: async () => (await import('./commands/inspect.js')).registerInspect,
      },
      { commands: ['exec'], load: async () => (await import('./commands/exec.js')).registerExec },
      {
        commands: ['attach'],
        load: async () => (await import('./commands/attach.js')).registerAttach,
      },
      {
        commands: ['logs'],
        load: async () => (await import('./commands/container-logs.js')).registerContainerLogs,
      },
      {
        commands: [
          ...['stop', 'restart', 'kill', 'pause', 'unpause', 'rename', 'rm', 'container', 'wait'],
        ],
        load: async () => (await import('./commands/container-life.js')).registerContainerLife,
      },
      {
        commands: ['stats', 'top', 'update'],
        load: async () => (await import('./commands/container-stats.js')).registerContainerStats,
      },
      {
        commands: ['cp', 'export', 'diff'],
        load: async () => (await import('./commands/container-files.js')).registerContainerFiles,
      },
    ],
  },
  {
    title: 'Images and volumes:',
    modules: [
      {
        commands: ['volume'],
        load: async () => (await import('./commands/volume.js')).registerVolume,
      },
      {
        commands: ['image'],
        load: async () => (await import('./commands/image.js')).registerImage,
      },
      {
        commands: ['login', 'logout'],
        load: async () => (await import('./commands/registry.js')).registerRegistry,
      },
    ],
  },
  {
    title: 'The cluster itself:',
    modules: [
      {
        commands: ['init', 'join'],
        load: async () => (await import('./commands/cluster.js')).registerCluster,
      },
      {
        commands: ['token'],
        load: async () => (await import('./commands/token.js')).registerToken,
      },
      { commands: ['node'], load: async () => (await import('./commands/node.js')).registerNode },
      {
        commands: ['system'],
        load: async () => (await import('./commands/system.js')).registerSystem,
      },
      { commands: ['dev'], load: async () => (await import('./commands/dev.js')).registerDev },
    ],
  },
];
