import assert from 'node:assert/strict';
import { formatListing } from '../../../../cli/output/listing.js';
import {
  dockerNetwork,
  dockerNodeNetwork,
  networkRow,
  NETWORKS,
  nodeNetworkRow,
} from '../../../../cli/output/network-rows.js';
import { networkDetails } from '../../../../manager/core/network/details.js';
import { EngineNetwork } from '../../../../proto/gen/hatoba/v1/engine.js';
import { Attachment, TaskState } from '../../../../proto/gen/hatoba/v1/types.js';
import {
  aCluster,
  aNetwork,
  aNode,
  aService,
  aTask,
  snapshotOf,
  T0,
} from '../../../support/builders.js';

const front = aNetwork({
  id: 'front0123456789',
  spec: { name: 'front', labels: { tier: 'a' }, options: { team: 'blue' } },
  vni: 5000,
  ipam: [
    { subnet: '10.1.0.0/29', gateway: '10.1.0.1', ipRange: '' },
    { subnet: '10.2.0.0/24', gateway: '10.2.0.1', ipRange: '10.2.0.128/25' },
  ],
});
const host = aNetwork({ id: 'host', spec: { name: 'host', driver: 'host', attachable: false } });
const bridge = EngineNetwork.fromPartial({
  ...{ id: 'local-bridge', name: 'bridge', driver: 'bridge' },
  ...{ subnet: '172.30.0.0/16', gateway: '172.30.0.1', mtuBytes: 1500 },
  containers: [{ id: 'c9', name: 'box', address: '172.30.0.2/16' }],
});
const web = aService({
  spec: { name: 'web', taskTemplate: { networks: [{ target: front.id }] } },
  endpoint: { virtualIps: [{ networkId: front.id, addr: '10.1.0.2/29' }] },
});
const onFront = (slot: number, address: string, state: TaskState): ReturnType<typeof aTask> =>
  aTask({
    slot,
    nodeId: 'n1',
    status: { state },
    networksAttachments: [{ networkId: front.id, addresses: [address] }],
  });

describe('networks as users see them', () => {
  const rows = [networkRow(front), networkRow(host), nodeNetworkRow(bridge)];
  const show = (...filter: string[]): string[] =>
    formatListing(rows, NETWORKS, { output: 'wide', quiet: false, filter })
      .split('\n')
      .map((line) => line.replaceAll(/ +/g, ' '));

  it("are listed in docker's columns", () => {
    assert.deepEqual(show(), [
      'NETWORK ID NAME DRIVER SCOPE SUBNETS VNI NOTES',
      'front0123456 front overlay cluster 10.1.0.0/29 10.2.0.0/24 5000 attachable',
      'host host host node',
      'local-bridge bridge bridge node 172.30.0.0/16 attachable',
    ]);
  });

  const FILTERS: readonly [filter: string, names: string][] = [
    ['name=ro', 'front'],
    ['id=front01', 'front'],
    ['driver=bridge', 'bridge'],
    ['label=tier', 'front'],
    ['label=tier=b', ''],
    ['scope=node', 'host bridge'],
    ['scope=local', 'host bridge'],
    ['scope=swarm', 'front'],
  ];
  for (const [filter, names] of FILTERS) {
    it(`are found by ${filter}`, () => {
      const found = show(filter)
        .slice(1)
        .filter((line) => line !== '');
      assert.equal(found.map((line) => line.split(' ')[1]).join(' '), names);
    });
  }

  it('tell how full they are and who is on them', () => {
    const snapshot = snapshotOf({
      cluster: aCluster(),
      nodes: [aNode({ id: 'n1' }), aNode({ id: 'n2' })],
      networks: [front, host],
      services: [web, aService({ spec: { name: 'other' } })],
      tasks: [
        onFront(1, '10.1.0.3/29', TaskState.RUNNING),
        onFront(2, '10.1.0.4/29', TaskState.FAILED),
        onFront(3, '10.2.0.130/24', TaskState.ORPHANED),
      ],
      attachments: [
        Attachment.fromPartial({
          ...{ id: 'a1', nodeId: 'n2', containerId: 'c1', containerName: 'box' },
          ...{ networkId: front.id, address: '10.2.0.200/24', active: true },
        }),
      ],
    });
    const details = networkDetails(snapshot, front);
    const shown = dockerNetwork({ ...details, network: front }, new Map([['n1', 'alpha']]));
    assert.deepEqual(shown, {
      Name: 'front',
      Id: 'front0123456789',
      Created: new Date(T0).toISOString(),
      Scope: 'cluster',
      Driver: 'overlay',
      EnableIPv6: false,
      IPAM: {
        Driver: 'default',
        Options: null,
        Config: [
          // 6 addresses: the gateway, the service's, one task's; those of the dead can be had
          { Subnet: '10.1.0.0/29', Gateway: '10.1.0.1', Used: 2, Free: 3 },
          {
            ...{ Subnet: '10.2.0.0/24', IPRange: '10.2.0.128/25', Gateway: '10.2.0.1' },
            ...{ Used: 2, Free: 124 },
          },
        ],
      },
      Internal: false,
      Attachable: true,
      Ingress: false,
      HostAccess: false,
      VNI: 5000,
      MTU: 1450,
      Containers: {
        c1: { Name: 'box', IPv4Address: '10.2.0.200/24', Host: 'n2', State: 'active' },
      },
      Services: {
        web: {
          VIP: '10.1.0.2/29',
          Tasks: [
            {
              Name: 'web.1',
              ID: 't-web-1-1',
              EndpointIP: '10.1.0.3/29',
              Host: 'alpha',
              State: 'running',
            },
            {
              Name: 'web.3',
              ID: 't-web-3-1',
              EndpointIP: '10.2.0.130/24',
              Host: 'alpha',
              State: 'orphaned',
            },
          ],
        },
      },
      Nodes: [{ Host: 'alpha' }, { Host: 'n2' }],
      Options: { team: 'blue' },
      Labels: { tier: 'a' },
    });
  });

  it('of one node are told of by that node', () => {
    const shown = dockerNodeNetwork(bridge) as { Containers: object; Scope: string };
    assert.equal(shown.Scope, 'node');
    assert.deepEqual(shown.Containers, { c9: { Name: 'box', IPv4Address: '172.30.0.2/16' } });
  });
});
