import assert from 'node:assert/strict';
import { TaskState } from '../../../../../proto/gen/hatoba/v1/types.js';
import { aNode, aService, aTask } from '../../../../support/builders.js';
import { plan, running, summary, web } from './planning.js';

describe('replicated services', () => {
  it('fills missing slots, the lowest numbers first, guarded by the service', () => {
    const service = web(4);
    const made = plan(service, [running(2)]);
    assert.deepEqual(summary(made), [
      'create 1.1 RUNNING',
      'create 3.1 RUNNING',
      'create 4.1 RUNNING',
    ]);
    assert.deepEqual(made.guards, [{ kind: 'service', object: service }]);
  });

  it('gives up idle slots first, then those of the fullest node, and all of their tasks', () => {
    const nodes = [aNode({ id: 'n1' }), aNode({ id: 'n2' })];
    const tasks = [
      running(1, { status: { state: TaskState.STARTING } }),
      running(2),
      running(3),
      running(4, { nodeId: 'n2' }),
    ];
    assert.deepEqual(summary(plan(web(3), tasks, nodes)), ['update t-web-1-1 REMOVE']);
    assert.deepEqual(summary(plan(web(2), tasks, nodes)), [
      'update t-web-1-1 REMOVE',
      'update t-web-3-1 REMOVE',
    ]);
    const dead = running(3, {
      desiredState: TaskState.SHUTDOWN,
      status: { state: TaskState.FAILED },
    });
    const next = running(3, { generation: 2 });
    assert.deepEqual(summary(plan(web(1), [running(1), dead, next])), [
      'update t-web-3-1 REMOVE',
      'update t-web-3-2 REMOVE',
    ]);
  });

  it('waits for the task that leaves before it uses the slot again', () => {
    const leaving = running(1, { desiredState: TaskState.REMOVE });
    assert.deepEqual(summary(plan(web(1), [leaving])), ['create 1.2 READY']);
    const waiting = aTask({ generation: 2, desiredState: TaskState.READY });
    assert.deepEqual(summary(plan(web(1), [leaving, waiting])), []);
    const gone = { ...leaving, status: { ...leaving.status, state: TaskState.SHUTDOWN } };
    assert.deepEqual(summary(plan(web(1), [gone, waiting])), ['update t-web-1-2 RUNNING']);
  });

  it('removes everything of a removed service', () => {
    const service = web(2, { pendingDelete: true });
    assert.deepEqual(summary(plan(service, [running(1), running(2)])), [
      'update t-web-1-1 REMOVE',
      'update t-web-2-1 REMOVE',
    ]);
  });

  it('has nothing to do for what it does not know', () => {
    assert.deepEqual(plan(web(1), [running(1)]).groups, []);
    const global = aService({ spec: { mode: { $case: 'global', value: {} } } });
    assert.deepEqual(plan(global, []).groups, []);
  });
});
