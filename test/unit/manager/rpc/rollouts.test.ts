import assert from 'node:assert/strict';
import { rolloutMethods } from '../../../../manager/rpc/control/rollouts.js';
import { serviceMethods } from '../../../../manager/rpc/control/services.js';
import { ServiceSpec } from '../../../../proto/gen/hatoba/v1/types.js';
import type { CallContext } from '../../../../proto/wire/service.js';
import { aTask } from '../../../support/builders.js';
import { createClusterRig, type ClusterRig } from '../../../support/cluster-rig.js';

const UPDATE = { service: 'web', version: 0, spec: undefined, rollback: false };
const call: CallContext = {
  caller: { kind: 'local' },
  signal: new AbortController().signal,
  peer: 'unknown',
};

function spec(image: string): ServiceSpec {
  return ServiceSpec.fromPartial({
    name: 'web',
    mode: { $case: 'replicated', value: { replicas: 2 } },
    taskTemplate: { containerSpec: { image } },
  });
}

describe('rollouts of services', () => {
  let rig: ClusterRig;
  let control: ReturnType<typeof serviceMethods> & ReturnType<typeof rolloutMethods>;
  let id = '';

  beforeEach(async () => {
    rig = await createClusterRig();
    const modules = {
      cluster: rig,
      networks: { appliedNetworkRevision: () => undefined, networkWaitOf: () => '' },
      own: { nodeId: 'm1', address: '10.0.0.1:4400' },
      random: rig.random,
    };
    control = { ...serviceMethods(modules), ...rolloutMethods(modules) };
    ({ id } = await control.createService({ spec: spec('web:1') }, call));
  });
  afterEach(async () => {
    await rig[Symbol.asyncDispose]();
  });

  it('keep a history of what they were, and go back to any of it', async () => {
    await control.updateService({ ...UPDATE, spec: spec('web:2') }, call);
    await control.updateService({ ...UPDATE, spec: spec('web:3') }, call);
    await control.updateService({ ...UPDATE, rollback: true, rollbackTo: 1 }, call);
    const { revisions } = await control.listRevisions({ service: 'web' }, call);
    assert.deepEqual(
      revisions.map((r) => [r.number, r.spec?.taskTemplate?.containerSpec?.image, r.cause]),
      [
        [4, 'web:1', 'rolled back to 1'],
        [3, 'web:3', 'updated'],
        [2, 'web:2', 'updated'],
        [1, 'web:1', 'created'],
      ],
    );
    assert.equal(rig.view.service(id)?.updateStatus?.state, 'UPDATE_STATE_ROLLBACK_STARTED');
    await assert.rejects(
      control.updateService({ ...UPDATE, rollback: true, rollbackTo: 9 }, call),
      { kind: 'not-found', message: /no revision 9: these exist: 1, 2, 3, 4/ },
    );
  });

  it('stop an update where it is, and let it go on; or begin one for the same spec', async () => {
    await rig.put('task', aTask({ serviceId: id, slot: 1, nodeId: 'n1' }));
    const request = { service: 'web', version: 0 };
    await assert.rejects(control.pauseRollout(request, call), { kind: 'failed-precondition' });
    const restarted = await control.restartService(request, call);
    assert.equal(restarted.updateStatus?.state, 'UPDATE_STATE_UPDATING');
    const outdated = { service: 'web', version: restarted.version - 1 };
    await assert.rejects(control.pauseRollout(outdated, call), { kind: 'conflict' });
    const paused = await control.pauseRollout({ ...request, version: restarted.version }, call);
    assert.equal(paused.updateStatus?.state, 'UPDATE_STATE_PAUSED');
    assert.equal(paused.serviceStatus?.desiredTasks, 2);
    const resumed = await control.resumeRollout(request, call);
    assert.equal(resumed.updateStatus?.state, 'UPDATE_STATE_UPDATING');
  });
});
