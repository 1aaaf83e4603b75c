import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import type { NetworkDriver, Sandbox, SandboxConfig } from '../../../../overlay-net/driver.js';
import { ContainerCreateRequest } from '../../../../proto/gen/hatoba/v1/engine.js';
import { ContainerSpec, Limit, type DeepPartial } from '../../../../proto/gen/hatoba/v1/types.js';
import type {
  ContainerConfig,
  ContainerEvent,
  Containers,
  ContainerState,
} from '../../../../runtime/engine.js';
import { createdContainer } from '../../../support/container-state.js';

export function aRequest(change: DeepPartial<ContainerCreateRequest> = {}): ContainerCreateRequest {
  return ContainerCreateRequest.fromPartial({
    ...change,
    spec: { image: 'box:1', ...change.spec },
  });
}

/** A container's configuration, by default of no network of ours. */
export function aConfig(change: Partial<ContainerConfig> = {}): ContainerConfig {
  return {
    id: 'c1',
    name: 'web',
    spec: ContainerSpec.fromPartial({ image: 'box:1' }),
    limits: Limit.fromPartial({}),
    netns: 'host',
    cgroupGroup: 'containers',
    dns: { nameservers: [], search: [], options: [] },
    hosts: [],
    log: { maxSizeBytes: 1, maxFiles: 1 },
    labels: {},
    ...change,
  };
}

/** Containers in memory; only what those of one node use. */
export class FakeLocalContainers implements Partial<Containers> {
  readonly states = new Map<string, ContainerState>();
  readonly listeners = new Set<(event: ContainerEvent) => void>();
  createError: Error | undefined;
  startError: Error | undefined;

  create(config: ContainerConfig): Promise<ContainerState> {
    if (this.createError !== undefined) return Promise.reject(this.createError);
    this.states.set(config.id, createdContainer(config));
    return Promise.resolve(this.set(config.id, 'created', {}));
  }
  start(id: string): Promise<ContainerState> {
    if (this.startError !== undefined) return Promise.reject(this.startError);
    return Promise.resolve(this.set(id, 'started', { status: 'running', pid: 7 }));
  }
  restart(id: string): Promise<ContainerState> {
    this.set(id, 'exited', { status: 'exited', exitCode: 0 });
    return this.start(id);
  }
  remove(id: string): Promise<void> {
    const state = this.states.get(id);
    this.states.delete(id);
    if (state !== undefined) this.tell({ id, type: 'removed', state });
    return Promise.resolve();
  }
  rename(id: string, name: string): Promise<ContainerState> {
    const state = this.states.get(id) ?? assert.fail(`no container ${id}`);
    return Promise.resolve(this.set(id, 'renamed', { config: { ...state.config, name } }));
  }
  get(id: string): ContainerState | undefined {
    return this.states.get(id);
  }
  find(nameOrId: string): ContainerState {
    const found = this.list().find(({ config }) => [config.id, config.name].includes(nameOrId));
    if (found === undefined) throw new HatobaError('not-found', `no container ${nameOrId}`);
    return found;
  }
  list(): ContainerState[] {
    return [...this.states.values()];
  }
  sizeRw(): Promise<number> {
    return Promise.resolve(10);
  }
  onEvent(listener: (event: ContainerEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Changes a container and tells of it. */
  set(id: string, type: ContainerEvent['type'], change: Partial<ContainerState>): ContainerState {
    const before = this.states.get(id);
    assert.ok(before, `no container ${id}`);
    const state = { ...before, ...change };
    this.states.set(id, state);
    this.tell({ id, type, state });
    return state;
  }
  tell(event: ContainerEvent): void {
    for (const listener of this.listeners) listener(event);
  }
}

/** Sandboxes in memory. */
export class FakeSandboxes implements Pick<NetworkDriver, 'attach' | 'detach' | 'list'> {
  readonly configs = new Map<string, SandboxConfig>();

  attach(config: SandboxConfig): Promise<Sandbox> {
    this.configs.set(config.id, config);
    return Promise.resolve(this.#toSandbox(config));
  }
  detach(id: string): Promise<void> {
    this.configs.delete(id);
    return Promise.resolve();
  }
  list(): Promise<Sandbox[]> {
    return Promise.resolve([...this.configs.values()].map((config) => this.#toSandbox(config)));
  }

  #toSandbox({ id, hostPorts }: SandboxConfig): Sandbox {
    return { id, netnsPath: `/run/netns/${id}`, nameservers: ['172.30.0.1'], hostPorts };
  }
}

/** For what has no business with networks of the cluster. */
export const noCluster = {
  cluster: {
    join: (): Promise<never> => Promise.reject(new Error('nobody joins')),
    ready: (): Promise<never> => Promise.reject(new Error('nobody waits')),
  },
  reports: {
    changed: (): void => assert.fail('nothing is told'),
    told: (): Promise<never> => Promise.reject(new Error('nothing is told')),
    joined: (): void => undefined,
  },
};
