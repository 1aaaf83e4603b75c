import assert from 'node:assert/strict';
import type { Attachment, Network } from '../../../../common/model/objects.js';
import { planAllocation } from '../../../../manager/core/allocator/plan-allocation.js';
import { Attachments } from '../../../../manager/rpc/attachments.js';
import { applyPlan } from '../../../../manager/store/write.js';
import { AttachContainerRequest } from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import type { Network as NetworkMessage } from '../../../../proto/gen/hatoba/v1/types.js';
import { aCluster, aNetwork, aNode, type Some } from '../../../support/builders.js';
import { createClusterRig, type ClusterRig } from '../../../support/cluster-rig.js';

const IPAM = [{ subnet: '10.5.0.0/29', gateway: '10.5.0.1' }];

function network(name: string, some: Some<NetworkMessage> = {}): Network {
  return aNetwork({ id: `id-${name}`, ipam: IPAM, ...some, spec: { ...some.spec, name } });
}

describe('containers outside of services', () => {
  let rig: ClusterRig;
  let attachments: Attachments;
  let call: AbortController;
  let stopLeading: () => void;

  beforeEach(async () => {
    rig = await createClusterRig();
    await rig.put('cluster', aCluster());
    await rig.put('node', aNode({ id: 'n1' }), aNode({ id: 'n2' }));
    await rig.put('network', network('web', { vni: 4096 }));
    attachments = new Attachments(rig, rig.random);
    call = new AbortController();
    stopLeading = rig.view.onChange(() => void lead());
  });
  afterEach(async () => {
    stopLeading();
    call.abort();
    await rig[Symbol.asyncDispose]();
    assert.equal(rig.clock.pendingTimers, 0, 'every timer was cancelled');
  });

  /** The allocator of a leader. */
  async function lead(): Promise<void> {
    const { plan } = planAllocation(rig.view, rig.clock.nowMs());
    await applyPlan(rig.store, plan, rig);
  }

  async function attach(
    some: Some<AttachContainerRequest> = {},
    nodeId = 'n1',
  ): Promise<Attachment> {
    const request = { containerId: 'c1', containerName: 'one', network: 'web', ...some };
    const asked = attachments.attach(
      nodeId,
      AttachContainerRequest.fromPartial(request),
      call.signal,
    );
    asked.catch(() => undefined);
    await rig.clock.advance(100);
    const { attachment } = await asked;
    assert.ok(attachment);
    return attachment;
  }

  function held(): string[] {
    return [...rig.view.attachments()].map((a) => `${a.nodeId} ${a.containerId} ${a.address}`);
  }

  it('get an address on a network, by its name or the beginning of its id', async () => {
    const first = await attach({ aliases: ['db', 'db'] });
    assert.equal(first.address, '10.5.0.2/29');
    assert.deepEqual(first.aliases, ['db']);
    assert.equal(first.active, false);
    const second = await attach({ containerId: 'c2', network: 'id-w' });
    assert.equal(second.address, '10.5.0.3/29');
  });

  it('keep it, whatever else is said of them later', async () => {
    const first = await attach();
    const { revision } = rig.view;
    assert.deepEqual(await attach(), first);
    assert.equal(rig.view.revision, revision, 'nothing was written');
    const again = await attach({ active: true, aliases: ['db'], containerName: 'other' });
    assert.equal(again.id, first.id);
    assert.equal(again.address, first.address);
    assert.deepEqual([again.active, again.aliases, again.containerName], [true, ['db'], 'other']);
    assert.deepEqual(await attach({ active: true, aliases: ['db'], containerName: 'other', address: '10.5.0.2' }), again); // prettier-ignore
    await assert.rejects(attach({ address: '10.5.0.4' }), {
      kind: 'conflict',
      message: /has the address 10\.5\.0\.2 on network web already, not 10\.5\.0\.4/,
    });
  });

  it('keep it on a network that is being removed', async () => {
    const first = await attach();
    const present = rig.view.network('id-web');
    assert.ok(present);
    await rig.change('network', { ...present, pendingDelete: true });
    assert.equal((await attach({ active: true })).address, first.address);
    await assert.rejects(attach({ containerId: 'c2' }), { message: /is being removed/ });
  });

  it('get the address they want, or are told who has it', async () => {
    assert.equal((await attach({ address: '10.5.0.6' })).address, '10.5.0.6/29');
    await assert.rejects(attach({ containerId: 'c2', address: '10.5.0.6' }, 'n2'), {
      kind: 'conflict',
      message: 'address 10.5.0.6 of network web is taken by container one on node n1',
    });
    await assert.rejects(attach({ containerId: 'c2', address: '10.6.0.6' }), {
      kind: 'invalid-argument',
      message: /its subnets are 10\.5\.0\.0\/29/,
    });
    assert.deepEqual(held(), ['n1 c1 10.5.0.6/29']);
  });

  it('are told with numbers that no address is left', async () => {
    for (const i of [1, 2, 3, 4, 5]) await attach({ containerId: `c${i}` });
    await assert.rejects(attach({ containerId: 'c6' }), {
      kind: 'resource-exhausted',
      message: /network web \(10\.5\.0\.0\/29: 6 addresses, 6 used, 0 free\)/,
    });
  });

  it('are refused by networks that are not for them, with what to do', async () => {
    await rig.put(
      'network',
      network('services', { spec: { attachable: false } }),
      network('in', { spec: { ingress: true } }),
      network('host', { spec: { driver: 'host' }, ipam: [] }),
      network('old', { pendingDelete: true }),
    );
    const cases = [
      ['services', /hatoba network create --attachable/],
      ['in', /publish a port instead/],
      ['host', /has driver host/],
      ['old', /is being removed/],
    ] as const;
    for (const [name, message] of cases) {
      await assert.rejects(attach({ network: name }), { kind: 'failed-precondition', message });
    }
    await assert.rejects(attach({ network: 'nope' }), { kind: 'not-found' });
    await assert.rejects(attach({ containerId: '../c', aliases: ['-'], address: 'x' }), {
      kind: 'invalid-argument',
      message: /containerId.*\naddress.*\naliases\[0\]/,
    });
  });

  it('are detached and kept by their own node alone', async () => {
    await rig.put('network', network('db', { ipam: [{ subnet: '10.6.0.0/24' }], vni: 4097 }));
    for (const name of ['web', 'db']) await attach({ network: name });
    await attach({ containerId: 'c2' });
    await attach({ containerId: 'c1' }, 'n2');
    const detach = (nodeId: string, networkId: string): Promise<void> =>
      attachments.detach(nodeId, { sessionId: '', containerId: 'c1', networkId }, call.signal);
    await detach('n1', 'id-db');
    assert.deepEqual(held().sort(), [
      'n1 c1 10.5.0.2/29',
      'n1 c2 10.5.0.3/29',
      'n2 c1 10.5.0.4/29',
    ]);
    await detach('n1', '');
    await detach('n1', '');
    assert.deepEqual(held(), ['n1 c2 10.5.0.3/29', 'n2 c1 10.5.0.4/29']);
    await attachments.keep('n2', { sessionId: '', containerIds: ['c9'] }, call.signal);
    assert.deepEqual(held(), ['n1 c2 10.5.0.3/29']);
  });

  it('are told when nobody gives addresses, and then are there for the next try', async () => {
    stopLeading();
    const asked = attach();
    asked.catch(() => undefined);
    await rig.clock.advance(20_000);
    await assert.rejects(asked, { kind: 'unavailable', message: /is there a leader/ });
    assert.deepEqual(held(), ['n1 c1 ']);
    await lead();
    assert.equal((await attach()).address, '10.5.0.2/29');
  });

  it('wait no longer than their caller', async () => {
    stopLeading();
    const asked = attach();
    asked.catch(() => undefined);
    await rig.clock.advance(200);
    call.abort(new Error('gone'));
    await assert.rejects(asked, /gone/);
  });
});
