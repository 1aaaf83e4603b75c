import assert from 'node:assert/strict';
import { AgentConnections } from '../../../../manager/rpc/agents.js';
import { EventLog } from '../../../../manager/events/event-log.js';
import { controlMethods } from '../../../../manager/rpc/control-server.js';
import type { ControlService } from '../../../../proto/gen/hatoba/v1/control.js';
import { TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import type { CallContext, Implementation } from '../../../../proto/wire/service.js';
import { aCluster, aNetwork, aNode, aService, aTask } from '../../../support/builders.js';
import { createClusterRig, type ClusterRig } from '../../../support/cluster-rig.js';

describe('what people see of the progress of networks', () => {
  let rig: ClusterRig;
  let agents: AgentConnections;
  let control: Implementation<typeof ControlService>;
  const call: CallContext = {
    caller: { kind: 'local' },
    signal: new AbortController().signal,
    peer: 'unknown',
  };
  const backend = aNetwork();

  beforeEach(async () => {
    rig = await createClusterRig();
    await rig.put('cluster', aCluster());
    await rig.put('network', backend);
    await rig.put('node', aNode({ id: 'n1', index: 1 }), aNode({ id: 'n2', index: 2 }));
    await rig.put('service', aService());
    const status = { state: TaskState.RUNNING, message: 'running' };
    const networksAttachments = [{ networkId: backend.id, addresses: ['10.9.0.9/24'] }];
    const tasks = [1, 2].map((slot) =>
      aTask({ slot, nodeId: `n${slot}`, status, networksAttachments }),
    );
    await rig.put('task', ...tasks);
    const identity = { caPem: '', certPem: '', keyPem: '' };
    agents = new AgentConnections({ view: rig.view, identity });
    const networks = {
      appliedNetworkRevision: (id: string) => (id === 'n1' ? 42 : undefined),
      networkWaitOf: (id: string) => (id === 't-web-1-1' ? 'stops once node n3 sends' : ''),
    };
    const own = { nodeId: 'm1', address: '10.0.0.1:4400' };
    const events = new EventLog();
    control = controlMethods({ cluster: rig, networks, own, random: rig.random, agents, events });
  });
  afterEach(async () => {
    await agents[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  it('a task tells what its order waits for', async () => {
    const request = { service: '', stack: '', node: '', history: false };
    const { tasks } = await control.listTasks(request, call);
    assert.deepEqual(
      tasks.map((t) => t.status?.message),
      ['stops once node n3 sends', 'running'],
    );
    const one = await control.getTask({ task: 'web.1' }, call);
    assert.equal(one.status?.message, 'stops once node n3 sends');
    assert.equal(rig.view.task('t-web-1-1')?.status.message, 'running', 'nothing is stored');
  });

  it('a network tells what the kernels of its nodes show', async () => {
    const { nodes } = await control.inspectNetwork({ network: 'backend' }, call);
    assert.deepEqual(nodes, [{ nodeId: 'n1', appliedRevision: 42 }, { nodeId: 'n2' }]);
  });
});
