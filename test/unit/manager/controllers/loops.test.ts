import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logger.js';
import type { Task } from '../../../../common/model/objects.js';
import { allocateController } from '../../../../manager/controllers/allocate.js';
import { runControllers } from '../../../../manager/controllers/controller.js';
import { applyAndSee, type LoopModules } from '../../../../manager/controllers/loop.js';
import { reapController } from '../../../../manager/controllers/reap.js';
import { replicatedController } from '../../../../manager/controllers/replicated.js';
import { scheduleController } from '../../../../manager/controllers/schedule.js';
import { planRemoveService } from '../../../../manager/core/service/plan-service-update.js';
import type { Change, Plan } from '../../../../manager/core/snapshot.js';
import { MemoryStore } from '../../../../manager/store/memory-store.js';
import { applyPlan } from '../../../../manager/store/write.js';
import { Reflector } from '../../../../manager/view/reflector.js';
import { View } from '../../../../manager/view/view.js';
import { TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import { aCluster, aNetwork, aNode, aService } from '../../../support/builders.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { seededRandom } from '../../../support/seeded-random.js';

/** A leader's loops on a memory store, and a hand that plays the agents. */
class Bench implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly view = new View();
  readonly store = new MemoryStore({ clock: this.clock });
  readonly random = seededRandom(1);
  readonly #end = new AbortController();
  readonly #reflector = new Reflector({
    store: this.store,
    view: this.view,
    clock: this.clock,
    random: this.random,
    logger: silentLogger,
  });
  #running: Promise<void> = Promise.resolve();
  modules: LoopModules | undefined;

  async start(changes: readonly Change[]): Promise<void> {
    await this.store.commit({
      guards: [],
      puts: [{ key: '/hatoba/v1/leader/manager', value: new Uint8Array() }],
      deletes: [],
    });
    const leader = await this.store.get('/hatoba/v1/leader/manager');
    const fence = { key: '/hatoba/v1/leader/manager', revision: leader?.revision ?? 0 };
    await this.write({ groups: changes.map((c) => [c]) });
    await this.#reflector.start(this.#end.signal);
    const { view, store, clock, random } = this;
    const modules = { view, store, clock, random, fence };
    this.modules = modules;
    const loops = [replicatedController, allocateController, scheduleController, reapController];
    this.#running = runControllers(
      loops.map((make) => make(modules)),
      { clock, random, logger: silentLogger },
      this.#end.signal,
    );
  }

  async write(plan: Plan): Promise<void> {
    const { conflicts } = await applyPlan(this.store, plan, { clock: this.clock });
    assert.equal(conflicts, 0);
  }

  /** Lets the loops work until they rest. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await this.clock.advance(10);
  }

  async report(state: TaskState): Promise<void> {
    const tasks = [...this.view.tasks()].filter((t) => t.nodeId !== '');
    const object = (t: Task): Task => ({ ...t, status: { ...t.status, state } });
    await this.write({
      groups: tasks.map((t) => [{ action: 'update', kind: 'task', object: object(t) }]),
    });
    await this.settle();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.clock.advance(1000);
    await this.#running;
    await this.#reflector[Symbol.asyncDispose]();
    await this.store[Symbol.asyncDispose]();
  }
}

describe('the loops of a leader', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = new Bench();
    const service = aService({
      spec: {
        mode: { $case: 'replicated', value: { replicas: 60 } },
        endpointSpec: { ports: [{ targetPort: 80 }] },
      },
    });
    const nodes = [1, 2, 3].map((i) => aNode({ id: `n${i}` }));
    await bench.start([
      { action: 'create', kind: 'cluster', object: aCluster() },
      {
        action: 'create',
        kind: 'network',
        object: aNetwork({ spec: { name: 'ingress', ingress: true } }),
      },
      { action: 'create', kind: 'service', object: service },
      ...nodes.map((object): Change => ({ action: 'create', kind: 'node', object })),
    ]);
    await bench.settle();
  });
  afterEach(async () => {
    await bench[Symbol.asyncDispose]();
    assert.equal(bench.clock.pendingTimers, 0, 'a loop left a timer behind');
  });

  it('bring a service from its spec to tasks on nodes', () => {
    const tasks = [...bench.view.tasks()];
    assert.equal(tasks.length, 60);
    assert.ok(tasks.every((t) => t.status.state === TaskState.ASSIGNED));
    assert.deepEqual(
      ['n1', 'n2', 'n3'].map((n) => bench.view.tasksOfNode(n).length),
      [20, 20, 20],
    );
    const addresses = tasks.flatMap((t) => t.networksAttachments.flatMap((a) => a.addresses));
    assert.equal(new Set(addresses).size, 60);
    assert.equal(bench.view.service('id-web')?.endpoint.ports[0]?.publishedPort, 30_000);
  });

  it('remove a service when its tasks have ended', async () => {
    await bench.write(planRemoveService(bench.view, 'id-web').plan);
    await bench.settle();
    assert.ok([...bench.view.tasks()].every((t) => t.desiredState === TaskState.REMOVE));
    await bench.report(TaskState.SHUTDOWN);
    assert.deepEqual([...bench.view.tasks()], []);
    assert.equal(bench.view.service('id-web'), undefined);
  });

  it('write nothing more once another leads', async () => {
    const { modules } = bench;
    assert.ok(modules !== undefined);
    const stale = { ...modules, fence: { key: modules.fence.key, revision: 999 } };
    const plan = planRemoveService(bench.view, 'id-web').plan;
    await assert.rejects(applyAndSee(stale, plan, new AbortController().signal), {
      kind: 'conflict',
    });
    assert.equal(bench.view.service('id-web')?.pendingDelete, false);
  });
});
