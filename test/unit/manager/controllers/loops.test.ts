import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logger.js';
import type { Task } from '../../../../common/model/objects.js';
import { applyAndSee, type LoopModules } from '../../../../manager/controllers/loop.js';
import { leadTerm } from '../../../../manager/controllers/term.js';
import { planRemoveService } from '../../../../manager/core/service/plan-service-update.js';
import type { Change, Plan } from '../../../../manager/core/snapshot.js';
import { LEADER_KEY } from '../../../../manager/store/keys.js';
import { MemoryStore, type MemoryStoreOptions } from '../../../../manager/store/memory-store.js';
import type { Guard } from '../../../../manager/store/store.js';
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
  fault: NonNullable<MemoryStoreOptions['commitFault']> = () => 'none';
  readonly store = new MemoryStore(
    { clock: this.clock },
    { commitFault: (t) => this.fault(t), watchDelayMs: () => 5 },
  );
  readonly random = seededRandom(1);
  readonly #end = new AbortController();
  readonly #reflector = new Reflector({
    store: this.store,
    view: this.view,
    clock: this.clock,
    random: this.random,
    logger: silentLogger,
  });
  running: Promise<void> = Promise.resolve();
  isLeading = false;
  fence: Guard | undefined;

  async start(changes: readonly Change[]): Promise<void> {
    await this.write({ groups: changes.map((c) => [c]) });
    await this.#reflector.start(this.#end.signal);
    await this.lead();
  }

  /** A new term, as after an election. */
  async lead(): Promise<void> {
    const present = await this.store.get(LEADER_KEY);
    if (present !== undefined) {
      await this.store.commit({ guards: [], puts: [], deletes: [LEADER_KEY] });
    }
    const puts = [{ key: LEADER_KEY, value: new Uint8Array() }];
    const createRevision = await this.store.commit({ guards: [], puts, deletes: [] });
    const fence = { key: LEADER_KEY, createRevision };
    this.fence = fence;
    this.isLeading = true;
    this.running = leadTerm(
      { fence, signal: this.#end.signal },
      { ...this.modules, logger: silentLogger },
    ).finally(() => (this.isLeading = false));
  }

  get modules(): Omit<LoopModules, 'fence' | 'resign' | 'ledger'> {
    const { view, store, clock, random } = this;
    return { view, store, clock, random };
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
    await this.running;
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
    const fence = { key: LEADER_KEY, createRevision: 999 };
    const stale = { ...bench.modules, fence, resign: () => undefined };
    const plan = planRemoveService(bench.view, 'id-web').plan;
    await assert.rejects(applyAndSee(stale, plan, new AbortController().signal), {
      kind: 'conflict',
    });
    assert.equal(bench.view.service('id-web')?.pendingDelete, false);
  });

  for (const fault of ['lost', 'applied'] as const) {
    it(`end the term when nobody knows whether a write was made (${fault}); the next gives nothing twice`, async () => {
      const before = bench.fence;
      bench.fault = ({ puts }) => {
        const isAllocation = puts.some((p) => p.key.includes('/task/'));
        if (isAllocation) bench.fault = () => 'none';
        return isAllocation ? fault : 'none';
      };
      await scale(90);
      await bench.settle();
      assert.equal(bench.isLeading, false);
      await bench.running; // no loop of it is at work any more
      const late = { key: '/hatoba/v1/x', value: new Uint8Array() };
      bench.fault = ({ guards }) => {
        const start = guards.find((g) => 'createRevision' in g);
        const since = start !== undefined && 'createRevision' in start ? start.createRevision : 0;
        assert.ok(bench.view.revision >= since, 'planned before the view showed the new term');
        return 'none';
      };
      await bench.lead();
      await assert.rejects(
        bench.store.commit({
          guards: before === undefined ? [] : [before],
          puts: [late],
          deletes: [],
        }),
        { kind: 'conflict' },
        'what is still on its way from the former term is fenced off',
      );
      await bench.settle();
      const tasks = [...bench.view.tasks()];
      assert.equal(tasks.length, 90);
      const addresses = tasks.flatMap((t) => t.networksAttachments.flatMap((a) => a.addresses));
      assert.equal(new Set(addresses).size, 90);
      assert.ok(tasks.every((t) => t.status.state === TaskState.ASSIGNED));
    });
  }

  it('remove nothing when a service cannot be read: the term ends, and none begins', async () => {
    const key = '/hatoba/v1/service/id-web';
    const whole = await bench.store.get(key);
    assert.ok(whole !== undefined);
    const puts = [{ key, value: Buffer.from([255, 255]) }];
    await bench.store.commit({ guards: [], puts, deletes: [] });
    await bench.settle();
    assert.equal(bench.isLeading, false);
    await bench.lead();
    const failure = bench.running.then(
      () => '',
      (error: unknown) => String(error),
    );
    await bench.settle();
    assert.match(await failure, /cannot read \(\/hatoba\/v1\/service\/id-web\)/);
    assert.equal([...bench.view.tasks()].length, 60);
    await bench.store.commit({ guards: [], puts: [{ key, value: whole.value }], deletes: [] });
    await bench.settle();
    await bench.lead();
    await bench.settle();
    assert.equal(bench.isLeading, true);
    assert.equal([...bench.view.tasks()].length, 60);
  });

  async function scale(replicas: number): Promise<void> {
    const service = bench.view.service('id-web');
    assert.ok(service !== undefined);
    const mode = { $case: 'replicated', value: { replicas } } as const;
    const object = { ...service, spec: { ...service.spec, mode } };
    await bench.write({ groups: [[{ action: 'update', kind: 'service', object }]] });
  }
});
