import assert from 'node:assert/strict';
import { availableParallelism, totalmem } from 'node:os';
import { PortProtocol } from '../../../../proto/gen/hatoba/v1/types.js';
import { mtuOf } from '../../../../node-agent/executor/underlay.js';
import { describeNode } from '../../../../node-agent/session/describe-node.js';

const options = {
  hostname: 'n1',
  labels: { zone: 'a' },
  version: '1.2.3',
  advertiseAddr: '',
  dataPathAddr: '',
  agentPort: 4402,
  nodeGenericResources: ['gpu=u1', 'ssd=4', 'gpu=u2'],
};
const hostUse = {
  hostSubnets: ['192.168.4.0/22'],
  usedPorts: [{ protocol: PortProtocol.TCP, port: 22, hostIp: '', holder: 'sshd (pid 812)' }],
};
const modules = {
  mtuOf: (address: string): Promise<number> =>
    Promise.resolve(address === '10.0.0.9' ? 9000 : 1500),
  hostUse: () => Promise.resolve(hostUse),
  images: () => Promise.resolve(['web:1', 'db:2']),
};

describe('describeNode', () => {
  it('tells what the managers place tasks by', async () => {
    const node = await describeNode(options, '127.0.0.1:4400', modules);
    const { resources, platform, ...rest } = node;
    assert.equal(resources.nanoCpus, availableParallelism() * 1e9);
    assert.equal(resources.memoryBytes, totalmem());
    assert.ok(resources.pids > 0);
    assert.deepEqual(resources.generic, [
      { kind: 'gpu', count: 0, names: ['u1', 'u2'] },
      { kind: 'ssd', count: 4, names: [] },
    ]);
    assert.equal(platform.os, 'linux');
    assert.deepEqual(rest, {
      hostname: 'n1',
      engine: { engineVersion: '1.2.3', labels: { zone: 'a' } },
      dataPathAddress: '127.0.0.1',
      agentAddress: '127.0.0.1:4402',
      underlayMtuBytes: 1500,
      images: ['web:1', 'db:2'],
      ...hostUse,
    });
  });

  it('prefers what is configured', async () => {
    const configured = { ...options, advertiseAddr: 'fd00::1', dataPathAddr: '10.0.0.9' };
    const node = await describeNode(configured, '127.0.0.1:4400', modules);
    assert.equal(node.agentAddress, '[fd00::1]:4402');
    assert.equal(node.dataPathAddress, '10.0.0.9');
    assert.equal(node.underlayMtuBytes, 9000);
  });
});

describe('mtuOf', () => {
  const link = { kind: '', mac: '', up: true };
  const netlink = {
    addresses: () => Promise.resolve([{ link: 2, cidr: '10.0.0.9/24' }]),
    links: () =>
      Promise.resolve([
        { ...link, index: 1, name: 'lo', mtuBytes: 65_536 },
        { ...link, index: 2, name: 'eth0', mtuBytes: 9000 },
      ]),
  };

  it('is that of the link with the address', async () => {
    assert.equal(await mtuOf(netlink)('10.0.0.9'), 9000);
  });

  it('says when the address is not of this machine', async () => {
    await assert.rejects(mtuOf(netlink)('10.0.0.1'), /no network link of this machine has/);
  });
});
