import assert from 'node:assert/strict';
import type { Task } from '../../../../../common/model/objects.js';
import { haveSameReasons } from '../../../../../manager/core/scheduler/reasons.js';
import { planPending } from '../../../../../manager/core/scheduler/schedule.js';
import { SchedulerState } from '../../../../../manager/core/scheduler/state.js';
import type { Plan } from '../../../../../manager/core/snapshot.js';
import { aNode, snapshotOf, T0 } from '../../../../support/builders.js';
import { pending, running } from './placing.js';

const REWORD_MS = 10_000;
const lacks = (count: string, free: string): string =>
  `${count} resources (needs 4 CPUs; the largest free is ${free})`;
const start = 'no suitable node: ';

describe('the reasons of a task that waits', () => {
  const cases: readonly { name: string; one: string; other: string; same: boolean }[] = [
    {
      name: 'are the same whatever is free, and where',
      one: start + lacks('2 of 3 nodes lack', 'n2 with 2'),
      other: start + lacks('1 of 1 node lacks', 'web-a with 0.5'),
      same: true,
    },
    {
      name: 'are the same in another order',
      one: `${start}${lacks('2 of 3 nodes lack', 'n2 with 2')}, 1 of 3 has port 80/tcp in use`,
      other: `${start}2 of 3 nodes have port 80/tcp in use (on n1 by nginx (pid 9)), ${lacks('1 of 3 lacks', 'n1 with 1')}`,
      same: true,
    },
    {
      name: 'are others when one has come',
      one: start + lacks('3 of 3 nodes lack', 'n2 with 2'),
      other: `${start}${lacks('2 of 3 nodes lack', 'n2 with 2')}, 1 of 3 has port 80/tcp in use`,
      same: false,
    },
    {
      name: 'are others when one is about something else',
      one: `${start}1 of 1 node does not satisfy node.labels.zone==a`,
      other: `${start}1 of 1 node does not satisfy node.labels.zone==b`,
      same: false,
    },
    {
      name: 'are others when lower priorities would not help any more',
      one: start + lacks('1 of 1 node lacks', 'n1 with 2'),
      other: `${start + lacks('1 of 1 node lacks', 'n1 with 2')}; there are no tasks of lower priority to give way`,
      same: false,
    },
    {
      name: 'are others than none',
      one: 'waits for a node',
      other: start + lacks('1 of 1 node lacks', 'n1 with 2'),
      same: false,
    },
  ];
  for (const { name, one, other, same } of cases) {
    it(name, () => {
      assert.equal(haveSameReasons(one, other), same);
      assert.equal(haveSameReasons(other, one), same);
    });
  }

  it('are written anew at once; other figures only after a while, and then once', () => {
    const waiting = 50;
    const { state, plan, write, messages } = cluster(waiting);
    const first = plan(T0);
    assert.equal(first.groups.length, waiting);
    write(first);
    state.deleteTask('t-web-101-1'); // leaves more room, but not enough
    const soon = plan(T0 + 4000);
    assert.deepEqual(soon, { groups: [], requeueAfterMs: REWORD_MS - 4000 });
    const later = plan(T0 + REWORD_MS);
    assert.equal(later.groups.length, waiting);
    assert.equal(later.requeueAfterMs, undefined);
    write(later);
    assert.match([...messages()].join('\n'), /^[^\n]*the largest free is n1 with 2\)$/);
    assert.deepEqual(plan(T0 + REWORD_MS), { groups: [] });
    state.putNode(aNode({ id: 'n3', spec: { taints: [{ key: 'gpu' }] } }));
    assert.equal(
      plan(T0 + REWORD_MS + 1).groups.length,
      waiting,
      'another reason waits for nothing',
    );
  });

  it('are written at once where the clock stands far behind the message', () => {
    const { state, plan, write } = cluster(1);
    write(plan(T0));
    state.deleteTask('t-web-101-1');
    assert.equal(plan(T0 - 3_600_000).groups.length, 1);
  });
});

/** Tasks that need 4 CPUs, and two nodes that have 1 free each, as tasks of 1 and 2 CPUs are there. */
function cluster(waiting: number): {
  state: SchedulerState;
  plan: (nowMs: number) => Plan;
  write: (plan: Plan) => void;
  messages: () => Set<string>;
} {
  const needing = (cpus: number): object => ({
    spec: { resources: { reservations: { nanoCpus: cpus * 1e9 } } },
  });
  const tasks = [
    running('n1', { slot: 101, ...needing(1) }),
    running('n1', { slot: 102, ...needing(2) }),
    running('n2', { slot: 103, ...needing(3) }),
    ...pending(waiting, needing(4)),
  ];
  const nodes = [aNode({ id: 'n1' }), aNode({ id: 'n2' })];
  const state = SchedulerState.of(snapshotOf({ nodes, tasks }));
  const write = ({ groups }: Plan): void => {
    for (const { object } of groups.flat()) state.putTask(object as Task);
  };
  const messages = (): Set<string> => new Set(state.pending().map((t) => t.status.message));
  return { state, plan: (nowMs) => planPending(state, nowMs), write, messages };
}
