import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logger.js';
import { AssignmentSink } from '../../../../node-agent/worker/assignment-sink.js';
import {
  AssignmentAction,
  AssignmentsMessage,
  AssignmentsType,
  NetworkPeer,
  type AssignmentChange,
} from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import { Task } from '../../../../proto/gen/hatoba/v1/types.js';
import { assignedTask } from '../tasks.js';

const { UPDATE, REMOVE } = AssignmentAction;
const task = (value: Task, action: AssignmentAction = UPDATE): AssignmentChange => ({
  action,
  item: { $case: 'task', value },
});
const peer = (nodeId: string): AssignmentChange => ({
  action: UPDATE,
  item: { $case: 'peer', value: NetworkPeer.fromPartial({ nodeId }) },
});

describe('AssignmentSink', () => {
  let told: string[];
  let sink: AssignmentSink;
  const receive = (
    type: AssignmentsType,
    [appliesTo, resultsIn]: [string, string],
    changes: AssignmentChange[],
  ): boolean =>
    sink.receive(
      AssignmentsMessage.fromPartial({
        type,
        appliesTo,
        resultsIn,
        revision: Number(resultsIn),
        changes,
      }),
    );

  beforeEach(() => {
    told = [];
    sink = new AssignmentSink(
      { nodeId: 'n1', tasks: [assignedTask({ id: 'held' })] },
      {
        worker: {
          assign: ({ updated, removed }) =>
            void told.push(`assign ${updated.map((t) => t.id).join()} without ${removed.join()}`),
          sweep: () => {
            told.push('sweep');
            return Promise.resolve();
          },
        },
        networks: {
          apply: (revision, { nodeId, peers }) =>
            void told.push(`apply ${revision} on ${nodeId}: ${peers.map((p) => p.nodeId).join()}`),
          confirm: (revision) => void told.push(`confirm ${revision}`),
        },
        log: silentLogger,
      },
    );
  });

  it('takes a full set for the truth: networks first, then tasks, then what is left over', () => {
    assert.equal(
      receive(AssignmentsType.COMPLETE, ['', '1'], [task(assignedTask()), peer('n2')]),
      true,
    );
    assert.deepEqual(told, ['apply 1 on n1: n2', 'assign t1 without held', 'sweep']);
  });

  it('applies increments, and confirms revisions without news of networks', () => {
    receive(AssignmentsType.COMPLETE, ['', '1'], [task(assignedTask())]);
    told.length = 0;
    const gone = task(Task.fromPartial({ id: 't1' }), REMOVE);
    assert.equal(receive(AssignmentsType.INCREMENTAL, ['1', '2'], [gone]), true);
    assert.equal(receive(AssignmentsType.INCREMENTAL, ['2', '3'], [peer('n3')]), true);
    assert.deepEqual(told, [
      'confirm 2',
      'assign  without t1',
      'apply 3 on n1: n3',
      'assign  without ',
    ]);
  });

  it('asks for a full set after a gap, changing nothing', () => {
    receive(AssignmentsType.COMPLETE, ['', '1'], []);
    told.length = 0;
    assert.equal(receive(AssignmentsType.INCREMENTAL, ['5', '6'], [peer('n3')]), false);
    assert.deepEqual(told, []);
  });

  it('leaves out a task that makes no sense, and takes the others', () => {
    const bad = [Task.fromPartial({ id: 'nospec' }), { ...assignedTask(), id: '../../etc/x' }];
    receive(
      AssignmentsType.COMPLETE,
      ['', '1'],
      [...bad, assignedTask()].map((t) => task(t)),
    );
    assert.equal(told[1], 'assign t1 without held');
  });
});
