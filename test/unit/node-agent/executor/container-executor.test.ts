import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import type { Task } from '../../../../common/model/objects.js';
import { ContainerExecutor } from '../../../../node-agent/executor/container-executor.js';
import { TASK_ID_LABEL } from '../../../../node-agent/executor/container-config.js';
import type { Sandbox, SandboxConfig } from '../../../../overlay-net/driver.js';
import {
  Image,
  Limit,
  MountType,
  NetworkAttachment,
  PortConfig,
} from '../../../../proto/gen/hatoba/v1/types.js';
import type {
  ContainerConfig,
  ContainerEvent,
  Containers,
  ContainerState,
  Images,
} from '../../../../runtime/engine.js';
import { createdContainer } from '../../../support/container-state.js';
import { assignedTask } from '../tasks.js';

/** Containers in memory; only what the executor uses. */
class FakeContainers implements Partial<Containers> {
  readonly states = new Map<string, ContainerState>();
  readonly stops: { id: string; graceMs: number | undefined }[] = [];
  readonly listeners = new Set<(event: ContainerEvent) => void>();
  createError: Error | undefined;
  /** Of a container that is made without a command to run. */
  missingCommand = '';
  health: ContainerState['health'] = 'none';
  creating = 0;
  maxCreating = 0;
  createDelay: () => Promise<void> = () => Promise.resolve();

  async create(config: ContainerConfig): Promise<ContainerState> {
    this.maxCreating = Math.max(this.maxCreating, ++this.creating);
    await this.createDelay();
    this.creating--;
    if (this.createError !== undefined) throw this.createError;
    const state = { ...createdContainer(config), error: this.missingCommand };
    this.states.set(config.id, state);
    return state;
  }
  start(id: string): Promise<ContainerState> {
    return Promise.resolve(
      this.set(id, 'started', { status: 'running', pid: 77, health: this.health }),
    );
  }
  stop(id: string, options: { graceMs?: number } = {}): Promise<ContainerState> {
    this.stops.push({ id, graceMs: options.graceMs });
    return Promise.resolve(this.set(id, 'exited', { status: 'exited', exitCode: 143 }));
  }
  remove(id: string): Promise<void> {
    this.states.delete(id);
    return Promise.resolve();
  }
  get(id: string): ContainerState | undefined {
    return this.states.get(id);
  }
  list(): ContainerState[] {
    return [...this.states.values()];
  }
  onEvent(listener: (event: ContainerEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  set(id: string, type: ContainerEvent['type'], change: Partial<ContainerState>): ContainerState {
    const before = this.states.get(id);
    assert.ok(before, `no container ${id}`);
    const state = { ...before, ...change };
    this.states.set(id, state);
    for (const listener of this.listeners) listener({ id, type, state });
    return state;
  }
}

class FakeDriver {
  readonly sandboxes = new Map<string, Sandbox>();
  readonly attached: SandboxConfig[] = [];
  attach(config: SandboxConfig): Promise<Sandbox> {
    assert.ok(!this.sandboxes.has(config.id), 'attached twice');
    this.attached.push(config);
    const sandbox = {
      id: config.id,
      netnsPath: `/run/netns/${config.id}`,
      nameservers: ['10.0.0.1'],
      hostPorts: config.hostPorts,
    };
    this.sandboxes.set(config.id, sandbox);
    return Promise.resolve(sandbox);
  }
  detach(id: string): Promise<void> {
    this.sandboxes.delete(id);
    return Promise.resolve();
  }
  list(): Promise<Sandbox[]> {
    return Promise.resolve([...this.sandboxes.values()]);
  }
  openConnections(addresses: readonly string[]): Promise<number> {
    return Promise.resolve(addresses.join() === '10.0.1.5,10.0.2.5' ? 3 : 0);
  }
}

/** A container of the node alone has it. */
const TAKEN_PORT = 8099;

describe('ContainerExecutor', () => {
  const never = new AbortController().signal;
  let containers: FakeContainers;
  let driver: FakeDriver;
  let local: Set<string>;
  let pulls: string[];
  let drivers: Record<string, string>;

  const open = (): Promise<ContainerExecutor> => {
    const images: Partial<Images> = {
      find: (reference) =>
        Promise.resolve(local.has(reference) ? Image.fromPartial({}) : undefined),
      pull: (reference) => {
        pulls.push(reference);
        return reference === 'nothere'
          ? Promise.reject(
              new HatobaError('not-found', 'nothere: registry-1.docker.io: manifest unknown'),
            )
          : Promise.resolve(Image.fromPartial({}));
      },
    };
    return ContainerExecutor.create(
      { hostname: 'n1', os: 'linux', architecture: 'amd64' },
      {
        engine: { images: images as Images, containers: containers as unknown as Containers },
        driver,
        driverOf: (id) => drivers[id],
        withHostPorts: (ports, attach) =>
          ports.some(({ publishedPort }) => publishedPort === TAKEN_PORT)
            ? Promise.reject(new HatobaError('failed-precondition', 'container "web" has it'))
            : attach(),
      },
    );
  };
  const onNetwork = (changes: Parameters<typeof assignedTask>[0] = {}): Task =>
    assignedTask({
      id: '0r5o6ti2zgqcg3wr1dsjz1vyf',
      networksAttachments: [
        NetworkAttachment.fromPartial({
          networkId: 'a',
          networkName: 'front',
          addresses: ['10.0.0.7/24'],
        }),
      ],
      ...changes,
    });

  beforeEach(() => {
    containers = new FakeContainers();
    driver = new FakeDriver();
    local = new Set(['busybox']);
    pulls = [];
    drivers = { a: 'overlay' };
  });

  it('makes the container of a task, connected to its networks', async () => {
    const executor = await open();
    const task = onNetwork({
      spec: {
        containerSpec: {
          image: 'busybox',
          labels: { tier: 'web' },
          dnsConfig: { search: ['corp'] },
        },
        resources: { limits: { memoryBytes: 1 << 20 } },
        logDriver: { name: 'local', options: { 'max-size': '1m', 'max-file': '5' } },
      },
      hostPorts: [
        PortConfig.fromPartial({ targetPort: 80, publishedPort: 8080, hostIp: '127.0.0.1' }),
      ],
    });
    await executor.prepare(task, never);
    assert.deepEqual(driver.attached, [
      {
        id: task.id,
        attachments: [{ networkId: 'a', address: '10.0.0.7/24' }],
        hostPorts: [{ protocol: 'tcp', hostIp: '127.0.0.1', publishedPort: 8080, targetPort: 80 }],
      },
    ]);
    const config = containers.get(task.id)?.config;
    assert.ok(config);
    const { spec, labels, ...rest } = config;
    assert.deepEqual(rest, {
      id: task.id,
      name: `web.1.${task.id}`,
      limits: Limit.fromPartial({ memoryBytes: 1 << 20 }),
      netns: `/run/netns/${task.id}`,
      cgroupGroup: 'web',
      dns: { nameservers: ['10.0.0.1'], search: ['corp'], options: ['ndots:0'] },
      hosts: [{ address: '10.0.0.7', names: ['0r5o6ti2zgqc'] }],
      log: { maxSizeBytes: 1 << 20, maxFiles: 5 },
    });
    assert.equal(spec.hostname, '0r5o6ti2zgqc');
    assert.equal(labels['tier'], 'web');
    assert.equal(labels[TASK_ID_LABEL], task.id);
    assert.deepEqual(pulls, []);
  });

  it('expands the templates of a spec as they are here, and tells of all it cannot', async () => {
    const executor = await open();
    const containerSpec = {
      image: 'busybox',
      hostname: '{{.Service.Name}}-{{.Task.Slot}}',
      env: ['WHERE={{.Node.Hostname}} {{.Node.Platform.OS}}/{{.Node.Platform.Architecture}}'],
      mounts: [{ type: MountType.VOLUME, source: 'data-{{.Task.Slot}}', target: '/data' }],
    };
    const assignedGenericResources = [{ kind: 'gpu', count: 0, names: ['u1'] }];
    const task = onNetwork({ spec: { containerSpec }, assignedGenericResources });
    await executor.prepare(task, never);
    const config = containers.get('0r5o6ti2zgqcg3wr1dsjz1vyf')?.config;
    assert.equal(config?.spec.hostname, 'web-1');
    assert.deepEqual(config.spec.env, ['WHERE=n1 linux/amd64', 'DOCKER_RESOURCE_GPU=u1']);
    assert.equal(config.spec.mounts[0]?.source, 'data-1');
    assert.deepEqual(config.hosts, [{ address: '10.0.0.7', names: ['web-1'] }]);

    const wrong = { ...containerSpec, hostname: '{{.Nope}}', env: ['A={{.Task.Number}}'] };
    await assert.rejects(
      executor.prepare(assignedTask({ id: 't2', spec: { containerSpec: wrong } }), never),
      /hostname: there is no field "Nope".*\nenv\[0\]: there is no field "Task.Number"/,
    );
    assert.equal(containers.get('t2'), undefined);
  });

  it('keeps ten megabytes of log three times unless told otherwise', async () => {
    const executor = await open();
    await executor.prepare(assignedTask(), never);
    assert.deepEqual(containers.get('t1')?.config.log, { maxSizeBytes: 10 << 20, maxFiles: 3 });
  });

  it('pulls an image that is not here, and passes on what the registry says', async () => {
    const executor = await open();
    await executor.prepare(assignedTask({ spec: { containerSpec: { image: 'nginx' } } }), never);
    assert.deepEqual(pulls, ['nginx']);
    await assert.rejects(
      executor.prepare(
        assignedTask({ id: 't2', spec: { containerSpec: { image: 'nothere' } } }),
        never,
      ),
      { kind: 'not-found', message: 'nothere: registry-1.docker.io: manifest unknown' },
    );
    assert.equal(driver.sandboxes.has('t2'), false);
  });

  it('leaves no sandbox behind when the container cannot be made', async () => {
    const executor = await open();
    containers.createError = new HatobaError('invalid-argument', 'no such user "x"');
    await assert.rejects(executor.prepare(onNetwork(), never), /no such user/);
    assert.equal(driver.sandboxes.size, 0);
  });

  it('refuses what it cannot honour', async () => {
    const executor = await open();
    const withLog = (options: Record<string, string>, name = 'local'): Task =>
      assignedTask({ spec: { containerSpec: { image: 'busybox' }, logDriver: { name, options } } });
    for (const task of [
      withLog({}, 'syslog'),
      withLog({ 'max-sise': '1m' }),
      withLog({ 'max-size': '1m' }, 'none'),
      withLog({ 'max-size': 'big' }),
      withLog({ 'max-size': '0' }),
      withLog({ 'max-file': '0' }),
      assignedTask({ networksAttachments: [NetworkAttachment.fromPartial({ networkId: 'a' })] }),
    ]) {
      await assert.rejects(executor.prepare(task, never), { kind: 'invalid-argument' });
    }
    assert.equal(driver.sandboxes.size, 0);
  });

  it('takes no port from a container of the node alone', async () => {
    const executor = await open();
    const hostPorts = [PortConfig.fromPartial({ targetPort: 80, publishedPort: TAKEN_PORT })];
    await assert.rejects(executor.prepare(assignedTask({ hostPorts }), never), {
      message: 'container "web" has it',
    });
    assert.equal(driver.sandboxes.size, 0);
  });

  it("uses the host's network without a sandbox", async () => {
    drivers = { a: 'host' };
    const executor = await open();
    const task = onNetwork();
    await executor.prepare(task, never);
    const config = containers.get(task.id)?.config;
    assert.equal(config?.netns, 'host');
    assert.equal(config.spec.hostname, 'n1');
    assert.deepEqual(driver.attached, []);
  });

  it('refuses a task whose command is missing, and leaves nothing of it', async () => {
    const executor = await open();
    containers.missingCommand = 'exec: "x": executable file not found in $PATH';
    await assert.rejects(executor.prepare(onNetwork(), never), {
      kind: 'failed-precondition',
      message: containers.missingCommand,
    });
    assert.deepEqual([containers.list(), driver.sandboxes.size], [[], 0]);
  });

  it("gives no host name to one that has its machine's", async () => {
    const executor = await open();
    const task = onNetwork({ spec: { containerSpec: { image: 'web', utsMode: 'host' } } });
    await executor.prepare(task, never);
    const config = containers.get(task.id)?.config;
    assert.deepEqual([config?.spec.hostname, config?.hosts], ['', []]);
  });

  it('creates at most eight containers at a time', async () => {
    const executor = await open();
    let release = (): void => undefined;
    const gate = new Promise<void>((resolve) => (release = resolve));
    containers.createDelay = () => gate;
    const all = Array.from({ length: 20 }, (_, i) =>
      executor.prepare(assignedTask({ id: `t${i}` }), new AbortController().signal),
    );
    const aborted = new AbortController();
    const given = executor.prepare(assignedTask({ id: 'x' }), aborted.signal);
    await new Promise((resolve) => setImmediate(resolve));
    aborted.abort();
    await assert.rejects(given, { name: 'AbortError' });
    release();
    await Promise.all(all);
    assert.equal(containers.maxCreating, 8);
    assert.equal(containers.states.size, 20);
  });

  it('starts once, and says what became of the container', async () => {
    const executor = await open();
    const task = assignedTask();
    await executor.prepare(task, never);
    const running = {
      status: 'running',
      containerId: 't1',
      pid: 77,
      health: 'none',
      healthOutput: '',
    };
    assert.deepEqual(await executor.start(task), running);
    assert.deepEqual(await executor.start(task), running);
    containers.set('t1', 'exited', { status: 'exited', exitCode: 3, oomKilled: true });
    const exited = { status: 'exited', containerId: 't1', exitCode: 3, oomKilled: true };
    assert.deepEqual(await executor.start(task), exited);
    assert.deepEqual(await executor.start(assignedTask({ id: 'unknown' })), { status: 'missing' });
  });

  it('watches until healthy, then until the end', async () => {
    containers.health = 'starting';
    const executor = await open();
    const task = assignedTask();
    await executor.prepare(task, never);
    await executor.start(task);
    const healthy = executor.watch(task, 'healthy', never);
    containers.set('t1', 'health', { healthOutput: 'not yet' });
    containers.set('t1', 'health', { health: 'healthy' });
    assert.equal((await healthy).status, 'running');
    const ended = executor.watch(task, 'ended', never);
    containers.set('t1', 'health', { health: 'unhealthy', healthOutput: 'no' });
    const seen = await ended;
    assert.equal(seen.status === 'running' && seen.healthOutput, 'no');
  });

  it('watches for the end alone, whatever the health', async () => {
    containers.health = 'starting';
    const executor = await open();
    const task = assignedTask();
    await executor.prepare(task, never);
    await executor.start(task);
    const exited = executor.watch(task, 'exited', never);
    containers.set('t1', 'health', { health: 'unhealthy' });
    containers.set('t1', 'exited', { status: 'exited', exitCode: 0, oomKilled: false });
    assert.equal((await exited).status, 'exited');
  });

  it('counts connections to all addresses of a task', async () => {
    const executor = await open();
    const on = (...addresses: string[]): NetworkAttachment =>
      NetworkAttachment.fromPartial({ networkId: 'a', addresses });
    const networksAttachments = [on('10.0.1.5/24'), on('10.0.2.5/24')];
    assert.equal(await executor.openConnections(assignedTask({ networksAttachments })), 3);
  });

  it('gives up watching when told', async () => {
    const executor = await open();
    const task = assignedTask();
    await executor.prepare(task, never);
    await executor.start(task);
    const abort = new AbortController();
    const watch = executor.watch(task, 'ended', abort.signal);
    abort.abort();
    await assert.rejects(watch, { name: 'AbortError' });
    await executor[Symbol.asyncDispose]();
    assert.equal(containers.listeners.size, 0);
  });

  it('stops with the grace period of the task, ten seconds by default', async () => {
    const executor = await open();
    for (const [id, stopGracePeriodMs] of [
      ['t1', undefined],
      ['t2', 500],
    ] as const) {
      const task = assignedTask({
        id,
        spec: { containerSpec: { image: 'busybox', stopGracePeriodMs } },
      });
      await executor.prepare(task, never);
      await executor.start(task);
      assert.equal((await executor.shutdown(task)).status, 'exited');
    }
    assert.deepEqual(containers.stops, [
      { id: 't1', graceMs: 10_000 },
      { id: 't2', graceMs: 500 },
    ]);
  });

  it('undoes a container that was never started', async () => {
    const executor = await open();
    const task = assignedTask();
    await executor.prepare(task, never);
    assert.deepEqual(await executor.shutdown(task), { status: 'missing' });
    await executor.release(task.id);
    assert.equal(containers.states.size + driver.sandboxes.size, 0);
  });

  it('gives back the sandbox of a task and keeps its container', async () => {
    const executor = await open();
    await executor.prepare(assignedTask(), never);
    await executor.start(assignedTask());
    await executor.release('t1');
    assert.equal(containers.get('t1')?.status, 'exited');
    assert.equal(driver.sandboxes.size, 0);
    await executor.remove('t1');
    await executor.remove('t1');
    assert.equal(containers.states.size, 0);
  });

  it('makes a sandbox anew that a former process left without a container', async () => {
    await driver.attach({ id: 't1', attachments: [], hostPorts: [] });
    const executor = await open();
    await executor.prepare(assignedTask(), never);
    assert.equal(driver.attached.length, 2);
  });

  it('lists what tasks left, and not what others own', async () => {
    const executor = await open();
    await executor.prepare(assignedTask(), never);
    await driver.attach({ id: 't2', attachments: [], hostPorts: [] });
    const { config } = await containers.create({
      ...(containers.get('t1')?.config ?? assert.fail()),
      id: 'other',
      labels: {},
    });
    await driver.attach({ id: config.id, attachments: [], hostPorts: [] });
    assert.deepEqual(await executor.list(), ['t1', 't2']);
  });
});
