import assert from 'node:assert/strict';
import { STACK_LABEL } from '../../../../common/model/labels.js';
import { stackMethods } from '../../../../manager/rpc/control/stacks.js';
import type { DeployStackResponse } from '../../../../proto/gen/hatoba/v1/control.js';
import { StackSpec } from '../../../../proto/gen/hatoba/v1/types.js';
import type { CallContext } from '../../../../proto/wire/service.js';
import { aCluster } from '../../../support/builders.js';
import { createClusterRig, type ClusterRig } from '../../../support/cluster-rig.js';

const PARTS = 90;

function stack(image: string): StackSpec {
  const labels = { [STACK_LABEL]: 'many' };
  const numbers = Array.from({ length: PARTS }, (_, i) => i);
  return StackSpec.fromPartial({
    name: 'many',
    networks: numbers.map((i) => ({ name: `many_net${i}`, driver: 'overlay', labels })),
    services: numbers.map((i) => ({
      name: `many_s${i}`,
      labels,
      mode: { $case: 'replicated' as const, value: { replicas: 1 } },
      taskTemplate: { containerSpec: { image }, networks: [{ target: `many_net${i}` }] },
    })),
  });
}

describe('a stack larger than one write', () => {
  let rig: ClusterRig;

  beforeEach(async () => {
    rig = await createClusterRig();
    await rig.put('cluster', aCluster());
  });
  afterEach(async () => {
    await rig[Symbol.asyncDispose]();
  });

  async function deploy(spec: StackSpec): Promise<DeployStackResponse> {
    const own = { nodeId: 'm1', address: '10.0.0.1:4400' };
    const call: CallContext = {
      caller: { kind: 'local' },
      signal: new AbortController().signal,
      peer: 'unknown',
    };
    const networks = { appliedNetworkRevision: () => undefined, networkWaitOf: () => '' };
    const methods = stackMethods({ cluster: rig, networks, own, random: rig.random });
    const deploying = methods.deployStack({ spec, prune: false, planOnly: false }, call);
    deploying.catch(() => undefined);
    await rig.clock.advance(10_000);
    return await deploying;
  }

  it('has all its networks, each with a subnet of its own, and its services on them', async () => {
    assert.equal((await deploy(stack('i:1'))).changes.length, 2 * PARTS);
    const subnets = [...rig.view.networks()].map((n) => n.ipam[0]?.subnet);
    assert.equal(new Set(subnets).size, PARTS);
    for (const service of rig.view.services()) {
      const target = service.spec.taskTemplate.networks[0]?.target ?? '';
      assert.ok(rig.view.network(target), service.spec.name);
      assert.equal(service.specVersion, 1, 'made once, and not changed after');
    }
    await deploy(stack('i:2'));
    const versions = [...rig.view.services()].map((s) => s.specVersion);
    assert.deepEqual(new Set(versions), new Set([2]));
  });
});
