import assert from 'node:assert/strict';
import fc from 'fast-check';
import { kindOf } from '../../../../common/errors.js';
import type { Task } from '../../../../common/model/objects.js';
import { silentLogger } from '../../../../common/logger.js';
import type { Plan } from '../../../../manager/core/snapshot.js';
import { MemoryStore } from '../../../../manager/store/memory-store.js';
import { LEADER_KEY } from '../../../../manager/store/keys.js';
import { applyPlan } from '../../../../manager/store/write.js';
import { Reflector } from '../../../../manager/view/reflector.js';
import { compareTasks } from '../../../../manager/view/sorted-tasks.js';
import { View, type ViewChange } from '../../../../manager/view/view.js';
import { aNetwork, aNode, aService, aTask, snapshotOf } from '../../../support/builders.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { seededRandom } from '../../../support/seeded-random.js';

describe('View', () => {
  it('keeps the tasks of a service and of a node in order of slot, then generation', () => {
    const tasks = [
      aTask({ slot: 10, generation: 1, nodeId: 'n1' }),
      aTask({ slot: 2, generation: 11, nodeId: 'n2' }),
      aTask({ slot: 2, generation: 2, nodeId: 'n1' }),
      aTask({ serviceId: 'id-api', slot: 1, nodeId: 'n1' }),
    ];
    const view = snapshotOf({ tasks });
    const ids = (list: readonly Task[]): string[] => list.map((t) => t.id);
    assert.deepEqual(ids(view.tasksOfService('id-web')), ['t-web-2-2', 't-web-2-11', 't-web-10-1']);
    assert.deepEqual(ids(view.tasksOfNode('n1')), ['t-api-1-1', 't-web-2-2', 't-web-10-1']);
    assert.deepEqual(view.tasksOfNode('none'), []);
  });

  it('keeps the tasks of a global service by node, and knows them by the name of the node', () => {
    const tasks = [
      aTask({ id: 'b2', slot: 0, generation: 2, nodeId: 'nb' }),
      aTask({ id: 'a1', slot: 0, generation: 1, nodeId: 'na' }),
      aTask({ id: 'b1', slot: 0, generation: 1, nodeId: 'nb' }),
    ];
    const nodes = [aNode({ id: 'na', spec: { name: 'alpha' } }), aNode({ id: 'nb' })];
    const view = snapshotOf({ services: [aService()], tasks, nodes });
    assert.deepEqual(
      view.tasksOfService('id-web').map((t) => t.id),
      ['a1', 'b1', 'b2'],
    );
    assert.equal(view.findByName('task', 'web.nb')?.id, 'b2');
    assert.equal(view.findByName('task', 'web.alpha')?.id, 'a1');
    assert.equal(view.findByName('task', 'web.gamma'), undefined);
    const put = { type: 'put', key: 'x', kind: 'task' } as const;
    view.apply(2, [
      { ...put, object: aTask({ ...tasks[2], version: 2, serviceLabels: { a: '1' } }) },
    ]);
    assert.equal(view.tasksOfService('id-web').length, 3);
  });

  it('moves a task between nodes, and keeps lists that were handed out as they were', () => {
    const task = aTask({ nodeId: 'n1' });
    const view = snapshotOf({ tasks: [task] });
    const before = view.tasksOfNode('n1');
    const moved = { ...task, nodeId: 'n2', version: 2 };
    view.apply(2, [{ type: 'put', key: 'k', kind: 'task', object: moved }]);
    assert.deepEqual(
      [before, view.tasksOfNode('n1'), view.tasksOfNode('n2')],
      [[task], [], [moved]],
    );
  });

  it('freezes what it holds', () => {
    const view = snapshotOf({
      services: [aService({ spec: { name: 'web', labels: { a: 'b' } } })],
    });
    const service = view.service('id-web');
    assert.throws(() => Object.assign(service?.spec.labels ?? {}, { a: 'c' }), TypeError);
  });

  it('tells of a transaction after all of it shows', () => {
    const view = new View();
    const heard: [string[], number, number][] = [];
    view.onChange((changes, revision) => {
      heard.push([
        changes.map((c) => `${c.type} ${c.object.id}`),
        revision,
        [...view.tasks()].length,
      ]);
    });
    const put = (task: Task): Parameters<View['apply']>[1][number] => ({
      type: 'put',
      key: task.id,
      kind: 'task',
      object: task,
    });
    view.apply(5, [put(aTask()), put(aTask({ slot: 2 }))]);
    view.apply(6, [
      { type: 'delete', key: 't-web-1-1' },
      { type: 'delete', key: 'unknown' },
    ]);
    view.apply(6, [put(aTask({ slot: 3 }))]);
    assert.deepEqual(heard, [
      [['put t-web-1-1', 'put t-web-2-1'], 5, 2],
      [['delete t-web-1-1'], 6, 1],
    ]);
    assert.equal(view.revision, 6);
  });

  it('tells all listeners though one throws, and says so', () => {
    const view = new View();
    let heard = 0;
    view.onChange(() => {
      throw new Error('bad listener');
    });
    const end = view.onChange(() => heard++);
    const put = (version: number): Parameters<View['apply']>[1] => [
      { type: 'put', key: 'k', kind: 'node', object: aNode({ version }) },
    ];
    assert.throws(() => view.apply(1, put(1)), AggregateError);
    end();
    assert.throws(() => view.apply(2, put(2)), AggregateError);
    assert.equal(heard, 1);
  });

  it('waits for a revision, or until the signal aborts', async () => {
    const view = new View();
    const order: string[] = [];
    const stop = new AbortController();
    const waits = [
      view.waitFor(3).then(() => order.push('three')),
      view.waitFor(2).then(() => order.push('two')),
      view.waitFor(9, stop.signal).catch(() => order.push('aborted')),
    ];
    view.apply(2, []);
    await Promise.resolve();
    view.apply(4, []);
    stop.abort();
    await Promise.all(waits);
    assert.deepEqual(order, ['two', 'three', 'aborted']);
    await view.waitFor(4);
    await assert.rejects(view.waitFor(9, stop.signal));
  });

  describe('finds', () => {
    const view = snapshotOf({
      services: [
        aService({ id: 'abc1', spec: { name: 'web' } }),
        aService({ id: 'abc2', spec: { name: 'abc' } }),
      ],
      tasks: [aTask({ serviceId: 'abc1' }), aTask({ serviceId: 'abc1', generation: 2 })],
      nodes: [
        aNode({ id: 'n1', spec: { name: '' }, description: { hostname: 'twin' } }),
        aNode({ id: 'n2', spec: { name: '' }, description: { hostname: 'twin' } }),
        aNode({ id: 'n3', spec: { name: 'third' }, description: { hostname: 'h3' } }),
      ],
      networks: [aNetwork()],
    });
    const found: [kind: 'service' | 'task' | 'node' | 'network', ref: string, id: string][] = [
      ['service', 'abc1', 'abc1'],
      ['service', 'web', 'abc1'],
      ['service', 'abc', 'abc2'],
      ['task', 'web.1', 't-abc1-1-2'],
      ['node', 'third', 'n3'],
      ['node', 'h3', 'n3'],
      ['network', 'net-b', 'net-backend'],
    ];
    for (const [kind, ref, id] of found) {
      it(`${kind} ${ref}`, () => assert.equal(view.findByPrefix(kind, ref).id, id));
    }
    it('not: what fits several, nothing, or all', () => {
      assert.throws(
        () => view.findByPrefix('service', 'ab'),
        (e) => kindOf(e) === 'invalid-argument',
      );
      assert.throws(
        () => view.findByPrefix('service', 'x'),
        (e) => kindOf(e) === 'not-found',
      );
      assert.throws(
        () => view.findByPrefix('service', ''),
        (e) => kindOf(e) === 'not-found',
      );
      assert.equal(view.findByName('node', 'twin'), undefined);
    });
    it('no name of what is gone, and the new holder of a name', () => {
      const own = snapshotOf({ services: [aService()] });
      const next = aService({ id: 'next', version: 2 });
      own.apply(2, [
        { type: 'put', key: 'next', kind: 'service', object: next },
        { type: 'delete', key: '/hatoba/v1/service/id-web' },
      ]);
      assert.equal(own.findByName('service', 'web')?.id, 'next');
      own.apply(3, [{ type: 'delete', key: 'next' }]);
      assert.equal(own.findByName('service', 'web'), undefined);
    });
  });

  it('is the same by any way to a state: events, or lists in between (property)', () => {
    const step = fc.record({
      slot: fc.integer({ min: 1, max: 4 }),
      generation: fc.integer({ min: 1, max: 2 }),
      nodeId: fc.constantFrom('', 'n1', 'n2'),
      isDelete: fc.boolean(),
      relist: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        const view = new View();
        const state = new Map<string, Task>();
        const told = new Map<string, Task>();
        view.onChange((changes: readonly ViewChange[]) => {
          for (const { kind, type, object } of changes) {
            if (kind !== 'task') continue;
            if (type === 'put') told.set(object.id, object);
            else told.delete(object.id);
          }
        });
        steps.forEach(({ slot, generation, nodeId, isDelete, relist }, i) => {
          const task = aTask({ slot, generation, nodeId, version: i + 1 });
          if (isDelete) state.delete(task.id);
          else state.set(task.id, task);
          const puts = [...state].map(
            ([key, object]) => ({ type: 'put', key, kind: 'task', object }) as const,
          );
          if (relist) view.reset(i + 1, puts);
          else if (isDelete) view.apply(i + 1, [{ type: 'delete', key: task.id }]);
          else view.apply(i + 1, [{ type: 'put', key: task.id, kind: 'task', object: task }]);
          const wanted = [...state.values()].sort(compareTasks);
          assert.deepEqual([...view.tasks()].sort(compareTasks), wanted);
          assert.deepEqual(view.tasksOfService('id-web'), wanted);
          for (const id of ['n1', 'n2']) {
            assert.deepEqual(
              view.tasksOfNode(id),
              wanted.filter((t) => t.nodeId === id),
            );
          }
          assert.deepEqual([...told.values()].sort(compareTasks), wanted);
        });
      }),
      { numRuns: 200 },
    );
  });
});

describe('Reflector', () => {
  const setUp = (watchDelayMs = 0) => {
    const clock = new FakeClock();
    const store = new MemoryStore({ clock }, { watchDelayMs: () => watchDelayMs });
    const view = new View();
    const modules = { store, view, clock, random: seededRandom(1), logger: silentLogger };
    return { clock, store, view, reflector: new Reflector(modules) };
  };
  const create = (...names: string[]): Plan => ({
    groups: [
      names.map((name) => ({
        action: 'create',
        kind: 'service',
        object: aService({ spec: { name } }),
      })),
    ],
  });

  it('shows what is there when it has started, then what comes', async () => {
    const { clock, store, view, reflector } = setUp();
    await applyPlan(store, create('a'), { clock });
    await reflector.start();
    assert.equal(view.findByName('service', 'a')?.version, view.revision);
    const { revision } = await applyPlan(store, create('b', 'c'), { clock });
    await view.waitFor(revision);
    assert.deepEqual(
      [...view.services()].map((s) => s.spec.name),
      ['a', 'b', 'c'],
    );
    await reflector[Symbol.asyncDispose]();
  });

  it('tells only of what differs after a compaction', async () => {
    const { clock, store, view, reflector } = setUp(1000);
    await applyPlan(store, create('a', 'b'), { clock });
    await reflector.start();
    const heard: string[] = [];
    view.onChange((changes) => heard.push(...changes.map((c) => `${c.type} ${c.object.id}`)));
    const a = view.findByName('service', 'a');
    assert.ok(a !== undefined);
    await applyPlan(
      store,
      { groups: [[{ action: 'remove', kind: 'service', object: a }]] },
      { clock },
    );
    const { revision } = await applyPlan(store, create('c'), { clock });
    store.compact();
    await clock.advance(5000);
    assert.deepEqual([heard, reflector.relists], [['delete id-a', 'put id-c'], 2]);
    assert.equal(view.revision, revision);
    await reflector[Symbol.asyncDispose]();
  });

  it('leaves out what it cannot read, and knows the leader', async () => {
    const { store, clock, view, reflector } = setUp();
    const value = Buffer.from('m1');
    await store.commit({
      guards: [],
      puts: [
        { key: '/hatoba/v1/service/bad', value: Buffer.from([255, 255]) },
        { key: LEADER_KEY, value },
        { key: '/hatoba/v1/later/thing', value },
      ],
      deletes: [],
    });
    await applyPlan(store, create('good'), { clock });
    await reflector.start();
    assert.deepEqual(
      [...view.services()].map((s) => s.spec.name),
      ['good'],
    );
    assert.equal(view.leaderNodeId(), 'm1');
    assert.deepEqual(view.unreadableKeys(), ['/hatoba/v1/service/bad']);
    await store.commit({ guards: [], puts: [], deletes: [LEADER_KEY] });
    await clock.advance(10);
    assert.equal(view.leaderNodeId(), undefined);
    await store.commit({ guards: [], puts: [], deletes: ['/hatoba/v1/service/bad'] });
    await clock.advance(10);
    assert.deepEqual(view.unreadableKeys(), []);
    const good = view.findByName('service', 'good');
    const overwritten = { key: '/hatoba/v1/service/id-good', value: Buffer.from([255, 255]) };
    await store.commit({ guards: [], puts: [overwritten], deletes: [] });
    await clock.advance(10);
    assert.deepEqual(view.unreadableKeys(), [overwritten.key]);
    assert.equal(view.findByName('service', 'good'), good, 'shown as it was');
    await reflector[Symbol.asyncDispose]();
    assert.equal(clock.pendingTimers, 0);
  });
});
