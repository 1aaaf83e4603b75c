import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  applyAssignments,
  initialAssignments,
  toNetworkView,
  type Assignments,
  type CheckedChange,
  type CheckedMessage,
} from '../../../node-agent/core/assignment-diff.js';
import {
  AssignmentAction,
  AssignmentsType,
  NetworkConfig,
  NetworkEndpoint,
  NetworkPeer,
  NetworkService,
} from '../../../proto/gen/hatoba/v1/dispatcher.js';
import { assignedTask } from './tasks.js';

const { UPDATE, REMOVE } = AssignmentAction;
const task = (id: string): CheckedChange => ({
  action: UPDATE,
  item: { $case: 'task', value: assignedTask({ id }) },
});
const withoutTask = (id: string): CheckedChange => ({
  action: REMOVE,
  item: { $case: 'task', value: { id } },
});
const endpoint = (taskId: string, address: string): CheckedChange => ({
  action: UPDATE,
  item: {
    $case: 'endpoint',
    value: NetworkEndpoint.fromPartial({ networkId: 'a', taskId, address }),
  },
});
const network = (networkId: string): CheckedChange => ({
  action: UPDATE,
  item: { $case: 'network', value: NetworkConfig.fromPartial({ networkId }) },
});
const complete = (resultsIn: string, changes: CheckedChange[]): CheckedMessage => ({
  type: AssignmentsType.COMPLETE,
  appliesTo: '',
  resultsIn,
  revision: 10,
  changes,
});
const incremental = (
  appliesTo: string,
  resultsIn: string,
  changes: CheckedChange[],
): CheckedMessage => ({
  ...complete(resultsIn, changes),
  type: AssignmentsType.INCREMENTAL,
  appliesTo,
  revision: 11,
});
/** The state after messages that all follow each other. */
const after = (messages: CheckedMessage[], from = initialAssignments()): Assignments => {
  let state = from;
  for (const message of messages) {
    const step = applyAssignments(state, message);
    assert.ok(step);
    state = step.assignments;
  }
  return state;
};
const ids = (tasks: readonly { id: string }[]): string[] => tasks.map((t) => t.id);

describe('applyAssignments', () => {
  it('takes a complete message for the truth: what it does not name is removed', () => {
    const held = initialAssignments([assignedTask({ id: 'old' }), assignedTask({ id: 'kept' })]);
    const step = applyAssignments(held, complete('1', [task('new'), task('kept')]));
    assert.ok(step);
    assert.deepEqual(ids(step.tasks.updated), ['kept', 'new']);
    assert.deepEqual(step.tasks.removed, ['old']);
    assert.equal(step.isNetworkChanged, true);
    assert.equal(step.assignments.revision, 10);
  });

  it('applies increments in their sequence', () => {
    const state = after([complete('1', [task('t1'), network('a')])]);
    const step = applyAssignments(state, incremental('1', '2', [task('t2'), withoutTask('t1')]));
    assert.ok(step);
    assert.deepEqual(ids(step.tasks.updated), ['t2']);
    assert.deepEqual(step.tasks.removed, ['t1']);
    assert.deepEqual([...step.assignments.tasks.keys()], ['t2']);
    assert.equal(step.isNetworkChanged, false);
    assert.equal(step.assignments.networks, state.networks);
    assert.equal(step.assignments.revision, 11);
  });

  for (const [name, appliesTo] of [
    ['a gap', '2'],
    ['a repetition', '0'],
    ['no sequence', ''],
  ] as const) {
    it(`refuses ${name}`, () => {
      const state = after([complete('1', [])]);
      assert.equal(applyAssignments(state, incremental(appliesTo, '3', [])), undefined);
    });
  }

  it('refuses an increment before the first complete message', () => {
    assert.equal(applyAssignments(initialAssignments(), incremental('', '1', [])), undefined);
  });

  it('leaves the former state as it was', () => {
    const before = after([complete('1', [task('t1'), endpoint('t1', '10.0.0.2')])]);
    after([incremental('1', '2', [endpoint('t1', '10.0.0.9'), withoutTask('t1')])], before);
    assert.equal(before.tasks.has('t1'), true);
    assert.equal(before.endpoints.get('a/t1')?.address, '10.0.0.2');
  });

  it('names a task once that was removed and came back in one message', () => {
    const state = after([complete('1', [task('t1')])]);
    const step = applyAssignments(state, incremental('1', '2', [withoutTask('t1'), task('t1')]));
    assert.ok(step);
    assert.deepEqual(step.tasks.removed, []);
    assert.deepEqual(ids(step.tasks.updated), ['t1']);
  });

  it('knows each kind of network item by its own key', () => {
    const state = after([
      complete('1', [
        network('a'),
        endpoint('t1', '10.0.0.2'),
        {
          action: UPDATE,
          item: {
            $case: 'service',
            value: NetworkService.fromPartial({ networkId: 'a', serviceId: 's' }),
          },
        },
        {
          action: UPDATE,
          item: { $case: 'peer', value: NetworkPeer.fromPartial({ nodeId: 'n1' }) },
        },
      ]),
    ]);
    const step = applyAssignments(
      state,
      incremental('1', '2', [
        {
          action: REMOVE,
          item: { $case: 'network', value: NetworkConfig.fromPartial({ networkId: 'a' }) },
        },
        {
          action: REMOVE,
          item: {
            $case: 'endpoint',
            value: NetworkEndpoint.fromPartial({ networkId: 'a', taskId: 't1' }),
          },
        },
        {
          action: REMOVE,
          item: {
            $case: 'service',
            value: NetworkService.fromPartial({ networkId: 'a', serviceId: 's' }),
          },
        },
        {
          action: REMOVE,
          item: { $case: 'peer', value: NetworkPeer.fromPartial({ nodeId: 'n1' }) },
        },
      ]),
    );
    assert.ok(step);
    assert.equal(step.isNetworkChanged, true);
    assert.deepEqual(toNetworkView(step.assignments, 'n1'), {
      nodeId: 'n1',
      networks: [],
      endpoints: [],
      services: [],
      peers: [],
    });
  });

  it('gives network views in the order of their keys', () => {
    const state = after([complete('1', [endpoint('t2', 'y'), endpoint('t1', 'x')])]);
    assert.deepEqual(
      toNetworkView(state, 'n1').endpoints.map((e) => e.taskId),
      ['t1', 't2'],
    );
  });

  it('increments lead where a complete message would have led', () => {
    const change = fc.oneof(
      fc.constantFrom('t1', 't2', 't3').map(task),
      fc.constantFrom('t1', 't2', 't3').map(withoutTask),
      fc
        .tuple(fc.constantFrom('t1', 't2'), fc.constantFrom('x', 'y'))
        .map(([t, a]) => endpoint(t, a)),
      fc.constantFrom('a', 'b').map(network),
    );
    fc.assert(
      fc.property(fc.array(fc.array(change, { maxLength: 5 }), { maxLength: 6 }), (batches) => {
        const stepwise = after([
          complete('0', []),
          ...batches.map((changes, i) => incremental(String(i), String(i + 1), changes)),
        ]);
        const atOnce = after([complete('0', batches.flat())]);
        assert.deepEqual(toNetworkView(stepwise, 'n'), toNetworkView(atOnce, 'n'));
        assert.deepEqual([...stepwise.tasks.keys()].sort(), [...atOnce.tasks.keys()].sort());
      }),
      { numRuns: 200 },
    );
  });
});
