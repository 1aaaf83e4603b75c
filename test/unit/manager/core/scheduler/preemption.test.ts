import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Node, Task } from '../../../../../common/model/objects.js';
import { fewest } from '../../../../../manager/core/scheduler/victims.js';
import {
  PublishMode,
  TaskState,
  type Task as TaskMessage,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aTask, T0, type Some } from '../../../../support/builders.js';
import { nodes, pending, running, schedule } from './placing.js';

interface Holder {
  nodeId: string;
  priority: number;
  cpus: number;
  ending?: boolean;
}

/** A service of its own, named by the node, the priority and the CPUs that it holds. */
function holder({ nodeId, priority, cpus, ending = false }: Holder, slot = 1): Task {
  return running(nodeId, {
    serviceId: `id-${nodeId}-p${priority}-c${cpus}`,
    slot,
    spec: { priority, resources: { reservations: { nanoCpus: cpus * 1e9 } } },
    ...(ending ? { desiredState: TaskState.SHUTDOWN } : {}),
  });
}

function urgent(cpus: number, priority = 10, some: Some<TaskMessage> = {}): Task {
  return aTask({
    serviceId: 'id-db',
    spec: { priority, resources: { reservations: { nanoCpus: cpus * 1e9 } } },
    status: { state: TaskState.PENDING },
    ...some,
  });
}

function victimsOf(changed: readonly Task[]): string[] {
  return changed
    .filter((t) => t.desiredState === TaskState.SHUTDOWN)
    .map((t) => t.serviceName)
    .sort();
}

function waitOf(changed: readonly Task[]): string | undefined {
  return changed.find((t) => t.serviceName === 'db')?.status.message;
}

const CASES: readonly {
  name: string;
  nodes: Node[];
  there: Holder[];
  task: Task;
  victims: string[];
  message: string;
}[] = [
  {
    name: 'one large task gives way rather than two small ones',
    nodes: nodes({}, {}),
    there: [
      { nodeId: 'n1', priority: 0, cpus: 2 },
      { nodeId: 'n1', priority: 1, cpus: 1 },
      { nodeId: 'n2', priority: 5, cpus: 4 },
    ],
    task: urgent(3),
    victims: ['n1-p0-c2'],
    message: 'gets a place on n1 when these have ended, which give way to it: n1-p0-c2.1',
  },
  {
    name: 'of equally many, those of the lowest priority',
    nodes: nodes({}, {}),
    there: [
      { nodeId: 'n1', priority: 5, cpus: 4 },
      { nodeId: 'n2', priority: 4, cpus: 4 },
    ],
    task: urgent(4),
    victims: ['n2-p4-c4'],
    message: 'gets a place on n2 when these have ended, which give way to it: n2-p4-c4.2',
  },
  {
    name: 'equal priority gives way to nothing',
    nodes: nodes({}),
    there: [{ nodeId: 'n1', priority: 10, cpus: 4 }],
    task: urgent(4),
    victims: [],
    message:
      'no suitable node: 1 of 1 node lacks resources (needs 4 CPUs; the largest free is n1 with 0); ' +
      'there are no tasks of lower priority to give way',
  },
  {
    name: 'nothing gives way where that would not be enough',
    nodes: nodes({}),
    there: [
      { nodeId: 'n1', priority: 10, cpus: 2 },
      { nodeId: 'n1', priority: 0, cpus: 2 },
    ],
    task: urgent(3),
    victims: [],
    message:
      'no suitable node: 1 of 1 node lacks resources (needs 3 CPUs; the largest free is n1 with 0); ' +
      'nor would there be room if tasks of lower priority gave way',
  },
  {
    name: 'where enough is on its way out already, nothing more has to go',
    nodes: nodes({}, {}),
    there: [
      { nodeId: 'n1', priority: 0, cpus: 4 },
      { nodeId: 'n2', priority: 3, cpus: 4, ending: true },
    ],
    task: urgent(4),
    victims: [],
    message: 'gets a place on n2 when these have ended, which give way to it: n2-p3-c4.2',
  },
];

describe('preemption', () => {
  for (const c of CASES) {
    it(c.name, () => {
      const changed = schedule(
        c.nodes,
        [...c.there.map((h, i) => holder(h, i + 1)), c.task].map(named),
      );
      assert.deepEqual(victimsOf(changed), c.victims);
      assert.equal(waitOf(changed), c.message);
    });
  }

  it('tells a task why it ends, and since when', () => {
    const [victim] = schedule(nodes({}), [
      holder({ nodeId: 'n1', priority: 0, cpus: 4 }),
      urgent(1),
    ]);
    assert.ok(victim);
    assert.equal(victim.desiredReason, 'gives way to db.1 (priority 10)');
    assert.equal(victim.desiredSinceMs, T0);
    assert.equal(
      victim.status.state,
      TaskState.RUNNING,
      'what is seen of it is not the scheduler’s',
    );
  });

  it('keeps the room that is being made from what is less urgent, until it is there', () => {
    const [node] = nodes({});
    assert.ok(node);
    const small = pending(1, { spec: { resources: { reservations: { nanoCpus: 1e9 } } } });
    const leaving = holder({ nodeId: 'n1', priority: 0, cpus: 3, ending: true });
    const first = schedule([node], [leaving, urgent(4), ...small]);
    assert.deepEqual(
      first.filter((t) => t.nodeId !== '').map((t) => t.id),
      [],
    );
    const ended = { ...leaving, status: { ...leaving.status, state: TaskState.SHUTDOWN } };
    const second = schedule([node], [ended, urgent(4), ...small]);
    assert.deepEqual(
      second.filter((t) => t.nodeId !== '').map((t) => t.serviceName),
      ['db'],
    );
  });

  it('takes nothing from the service itself, whose old tasks serve while an update gives it priority', () => {
    const old = holder({ nodeId: 'n1', priority: 0, cpus: 4 }, 1);
    const task = { ...urgent(4), serviceId: old.serviceId };
    assert.deepEqual(victimsOf(schedule(nodes({}), [old, task])), []);
    assert.equal(victimsOf(schedule(nodes({}), [old, urgent(4)])).length, 1);
  });

  it('frees host ports and nodes to be apart from, too', () => {
    const hostPorts = [{ targetPort: 80, publishedPort: 80, publishMode: PublishMode.HOST }];
    const onPort = running('n1', { serviceId: 'id-a', hostPorts });
    assert.deepEqual(victimsOf(schedule(nodes({}), [onPort, urgent(1, 10, { hostPorts })])), ['a']);
    const away = { priority: 1, placement: { affinities: [{ expression: 'service!=a' }] } };
    const changed = schedule(nodes({}), [
      running('n1', { serviceId: 'id-a' }),
      running('n1', { serviceId: 'id-b' }),
      urgent(0, 1, { spec: away }),
    ]);
    assert.deepEqual(victimsOf(changed), ['a']);
  });

  it('makes room on its own node for a task that has its node given', () => {
    const changed = schedule(nodes({}, {}), [
      holder({ nodeId: 'n1', priority: 0, cpus: 4 }),
      urgent(2, 1, { slot: 0, nodeId: 'n1' }),
    ]);
    assert.deepEqual(victimsOf(changed), ['n1-p0-c4']);
  });

  it('serves several tasks without taking more than they need', () => {
    const there = [1, 2, 3, 4].map((i) => holder({ nodeId: 'n1', priority: 0, cpus: 1 }, i));
    const tasks = [1, 2].map((slot) => urgent(1, 10, { slot }));
    assert.equal(victimsOf(schedule(nodes({}), [...there, ...tasks])).length, 2);
  });

  it('only ever takes lower priorities, as few as can be, and enough', () => {
    const aHolder = fc.record({
      nodeId: fc.constantFrom('n1', 'n2', 'n3'),
      priority: fc.integer({ min: 0, max: 4 }),
      cpus: fc.integer({ min: 1, max: 4 }),
      ending: fc.boolean(),
    });
    fc.assert(
      fc.property(
        fc.array(aHolder, { maxLength: 14 }),
        fc.integer({ min: 0, max: 4 }),
        fc.integer({ min: 1, max: 8 }),
        (holders, priority, cpus) => {
          const all = nodes(
            ...[1, 2, 3].map(() => ({ description: { resources: { nanoCpus: 8e9 } } })),
          );
          const there = holders.map((h, i) => holder(h, i + 1)).map(named);
          const task = urgent(cpus, priority);
          const changed = schedule(all, [...there, task]);
          const victims = changed.filter((t) => t.desiredState === TaskState.SHUTDOWN);
          assert.ok(victims.every((v) => v.spec.priority < priority));
          const fewestOf = all.map((n) => fewestVictims(n.id, holders, priority, cpus));
          const least = Math.min(...fewestOf);
          const isPlaced = changed.some((t) => t.id === task.id && t.nodeId !== '');
          if (!isPlaced) assert.equal(victims.length, least === Infinity ? 0 : least);
          assert.ok(new Set(victims.map((v) => v.nodeId)).size <= 1, 'all of one node');
        },
      ),
      { numRuns: 200 },
    );
  });
});

/** Ids that differ although tests name tasks by service and slot. */
function named(task: Task, i: number): Task {
  return task.serviceName === 'db' ? task : { ...task, id: `h${i}` };
}

/** By trying all choices: how many more have to go once those that end have ended. */
function fewestVictims(
  nodeId: string,
  holders: readonly Holder[],
  priority: number,
  cpus: number,
): number {
  const here = holders.filter((h) => h.nodeId === nodeId);
  const lower = here.filter((h) => h.priority < priority && h.ending !== true);
  const stays = here.filter((h) => h.priority >= priority);
  const sum = (list: readonly Holder[]): number => list.reduce((s, h) => s + h.cpus, 0);
  let least = Infinity;
  for (let mask = 0; mask < 1 << lower.length; mask++) {
    const kept = lower.filter((_, i) => (mask & (1 << i)) === 0);
    if (sum(stays) + sum(kept) + cpus <= 8) least = Math.min(least, lower.length - kept.length);
  }
  return least;
}

describe('the fewest that are enough', () => {
  interface Coin {
    worth: number;
  }
  const coins = (...worths: number[]): Coin[] => worths.map((worth) => ({ worth }));
  const worthOf = (some: readonly Coin[]): number => some.reduce((sum, c) => sum + c.worth, 0);
  const isAtLeast = (sum: number) => (chosen: readonly Coin[]) => worthOf(chosen) >= sum;

  it('are the cheapest of equally many', () => {
    const cheapestFirst = coins(1, 3, 2, 3);
    const [, second, third] = cheapestFirst;
    assert.deepEqual(fewest(cheapestFirst, isAtLeast(3)), [second]);
    assert.deepEqual(fewest(cheapestFirst, isAtLeast(5)), [second, third]);
    assert.deepEqual(fewest(cheapestFirst, isAtLeast(0)), []);
    assert.equal(fewest(cheapestFirst, isAtLeast(10)), undefined);
    assert.equal(fewest(cheapestFirst, isAtLeast(5), 1), undefined);
  });

  it('are found among many in bounded time, with none that could be spared', () => {
    const many = coins(...Array.from({ length: 200 }, (_, i) => (i % 3) + 1));
    let questions = 0;
    const chosen = fewest(many, (some) => {
      questions++;
      return isAtLeast(300)(some);
    });
    assert.ok(chosen !== undefined && isAtLeast(300)(chosen));
    for (const { worth } of chosen) assert.ok(worthOf(chosen) - worth < 300);
    assert.ok(questions < 1000);
  });
});
