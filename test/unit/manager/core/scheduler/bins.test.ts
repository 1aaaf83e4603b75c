import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Node, Task } from '../../../../../common/model/objects.js';
import { Candidates } from '../../../../../manager/core/scheduler/candidates.js';
import type { NodeView } from '../../../../../manager/core/scheduler/node-view.js';
import { pickerFor } from '../../../../../manager/core/scheduler/picker.js';
import { compareRoom } from '../../../../../manager/core/scheduler/rank.js';
import { SchedulerState } from '../../../../../manager/core/scheduler/state.js';
import { sumOf } from '../../../../../manager/core/scheduler/wishes.js';
import {
  TaintEffect,
  TaskState,
  type DeepPartial,
  type Placement,
} from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aTask, snapshotOf, T0 } from '../../../../support/builders.js';
import { nodesOf, pending, running, schedule } from './placing.js';

const KEYS = ['zone', 'rack', 'disk', 'room'].map((name) => `node.labels.${name}`);
const aKey = fc.constantFrom(...KEYS, 'node.hostname', 'node.id');

const aPlacement: fc.Arbitrary<DeepPartial<Placement>> = fc.record({
  preferences: fc.array(fc.record({ spreadDescriptor: aKey }), { maxLength: 3 }),
  spreads: fc.array(
    fc.record({ key: aKey, maxSkew: fc.integer({ min: 1, max: 3 }), required: fc.boolean() }),
    { maxLength: 2 },
  ),
  affinities: fc.array(
    fc.record({
      expression: fc.constantFrom('service==s0', 'service!=s0', 'service==s1', 'service!=s1'),
      topology: aKey,
      weight: fc.constantFrom(0, 10, 100),
    }),
    { maxLength: 2 },
  ),
});

/** Racks are in zones; disks and rooms have nothing to do with either. 0 = no such label. */
const aClusterNode = fc.record({
  zone: fc.nat(2),
  rack: fc.nat(2),
  disk: fc.nat(2),
  room: fc.nat(4),
  cpus: fc.integer({ min: 1, max: 6 }),
  unwelcome: fc.boolean(),
});

function nodeOf(
  it: typeof aClusterNode extends fc.Arbitrary<infer T> ? T : never,
  i: number,
): Node {
  const { zone, rack, disk, room, cpus, unwelcome } = it;
  const values = { zone, rack: rack && `${zone}-${rack}`, disk, room };
  const labels = Object.entries(values).filter(([, value]) => value !== 0);
  const taints = unwelcome ? [{ key: 'slow', effect: TaintEffect.PREFER_NO_SCHEDULE }] : [];
  return aNode({
    id: `n${i}`,
    spec: { labels: Object.fromEntries(labels.map(([k, v]) => [k, String(v)])), taints },
    description: { hostname: `host${i}`, resources: { nanoCpus: cpus * 1e9 } },
  });
}

/** The best node, by a look at each. */
function plainBest(candidates: Candidates): NodeView | undefined {
  const { ranking, shiftingWishes, crowdings } = candidates;
  const [best] = candidates
    .eligible()
    .filter((view) => candidates.fits(view))
    .map((view) => {
      const ranked = ranking.rank(view);
      const unfulfilled = ranked.unfulfilled - sumOf(shiftingWishes, view);
      const crowds = crowdings.map((c) => c.on(view));
      return { ranked, worth: [ranked.reluctance, unfulfilled, ...crowds] };
    })
    .sort((a, b) => {
      const at = a.worth.findIndex((number, i) => number !== b.worth[i]);
      if (at < 0) return compareRoom(a.ranked, b.ranked);
      return (a.worth[at] ?? 0) - (b.worth[at] ?? 0);
    });
  return best?.ranked.view;
}

describe('bins of nodes', () => {
  it('find the node that a look at each one finds, for task after task', () => {
    fc.assert(
      fc.property(
        fc.array(aClusterNode, { minLength: 1, maxLength: 12 }),
        aPlacement,
        fc.array(fc.record({ node: fc.nat(11), service: fc.nat(1) }), { maxLength: 12 }),
        (some, placement, there) => {
          const nodes = some.map(nodeOf);
          const tasks = there.map(({ node, service }, i) =>
            running(`n${node}`, { serviceId: `id-s${service}`, slot: 100 + i }),
          );
          const state = SchedulerState.of(snapshotOf({ nodes, tasks }));
          placeAll(state, placement);
        },
      ),
      { numRuns: 1000 },
    );
  });

  it('see that a task in another bin has taken the room', () => {
    const nodes = ['r1', 'r2'].map((rack, i) =>
      aNode({ id: `n${i + 1}`, spec: { labels: { zone: 'a', rack } } }),
    );
    const placement = {
      preferences: [{ spreadDescriptor: 'node.labels.rack' }],
      affinities: [{ expression: 'service!=web', topology: 'node.labels.zone' }],
    };
    assert.deepEqual(nodesOf(schedule(nodes, pending(2, { spec: { placement } }))), ['', 'n1']);
  });
});

/** Asks for a place until there is none left, and compares. */
function placeAll(state: SchedulerState, placement: DeepPartial<Placement>): void {
  const resources = { reservations: { nanoCpus: 1e9 } };
  const task = (slot: number): Task =>
    aTask({
      serviceId: 'id-s0',
      slot,
      spec: { placement, resources },
      status: { state: TaskState.PENDING },
    });
  const candidates = new Candidates(state.requestOf(task(1)), state, T0);
  const picker = pickerFor(candidates, 100);
  for (let slot = 1; ; slot++) {
    const view = picker.best();
    assert.equal(view?.node.id, plainBest(candidates)?.node.id, `slot ${slot}`);
    if (view === undefined) return;
    const status = { ...task(slot).status, state: TaskState.ASSIGNED };
    state.putTask({ ...task(slot), nodeId: view.node.id, status });
  }
}
