import type { ContainerConfig, ContainerState } from '../../runtime/engine.js';

/** A container as it is right after its creation. */
export function createdContainer(config: ContainerConfig): ContainerState {
  return {
    config,
    status: 'created',
    pid: 0,
    health: 'none',
    healthOutput: '',
    oomKilled: false,
    createdAtMs: 1,
    error: '',
    restartCount: 0,
    imageId: 'sha256:1',
    cgroupPath: `/hatoba/${config.cgroupGroup}/${config.id}`,
    logPath: `/logs/${config.id}`,
    command: [...config.spec.command, ...config.spec.args],
    mounts: [],
  };
}
