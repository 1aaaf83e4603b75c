import fc from 'fast-check';
import type { NetworkState } from '../../../../overlay-net/driver.js';

/**
 * Any state of a small cluster: up to three networks (the first may be the ingress network, the
 * second one of this node alone), three nodes of which n1 is this one, services with and without virtual address, tasks anywhere.
 */
export const anyState: fc.Arbitrary<NetworkState> = fc
  .record({
    networks: fc.uniqueArray(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }),
    hasIngress: fc.boolean(),
    hasLocal: fc.boolean(),
    services: fc.uniqueArray(fc.integer({ min: 0, max: 11 }), { maxLength: 6 }),
    tasks: fc.uniqueArray(
      fc.record({
        host: fc.integer({ min: 100, max: 120 }),
        network: fc.integer({ min: 1, max: 3 }),
        service: fc.integer({ min: 0, max: 3 }),
        node: fc.integer({ min: 1, max: 3 }),
        ready: fc.boolean(),
      }),
      { maxLength: 12, selector: (t) => `${t.network} ${t.host}` },
    ),
    peers: fc.constantFrom([1], [1, 2], [1, 2, 3]),
  })
  .map(({ networks, hasIngress, hasLocal, services, tasks, peers }) => ({
    nodeId: 'n1',
    networks: networks.map((n) => ({
      networkId: `net${n}`,
      name: `net${n}`,
      driver: hasLocal && n === 2 ? 'bridge' : 'overlay',
      subnets: [{ subnet: `10.0.${n}.0/24`, gateway: `10.0.${n}.1` }],
      dataPathPort: 0,
      hostAccess: false,
      vni: 0x1000 + n,
      mtuBytes: 0,
      internal: n === 3,
      ingress: hasIngress && n === 1,
    })),
    services: services.map((s) => ({
      networkId: `net${1 + (s % 3)}`,
      serviceId: `svc${Math.floor(s / 3)}`,
      name: `stack_svc${Math.floor(s / 3)}`,
      aliases: [`svc${Math.floor(s / 3)}`],
      mode: s % 4 === 3 ? 'ENDPOINT_MODE_DNSRR' : 'ENDPOINT_MODE_VIP',
      virtualIp: s % 4 === 3 ? '' : `10.0.${1 + (s % 3)}.${10 + s}`,
      sessionAffinity: s % 5 === 2 ? 'SESSION_AFFINITY_CLIENT_IP' : 'SESSION_AFFINITY_NONE',
      ports: [
        {
          name: '',
          protocol: 'PORT_PROTOCOL_TCP',
          targetPort: 80,
          publishedPort: 8000 + s,
          publishMode: 'PUBLISH_MODE_INGRESS',
          hostIp: s % 3 === 0 && s > 5 ? '127.0.0.1' : '',
        },
      ],
    })),
    endpoints: tasks.map((t) => ({
      networkId: `net${t.network}`,
      taskId: `task${t.host}`,
      serviceId: `svc${t.service}`,
      nodeId: `n${t.node}`,
      address: `10.0.${t.network}.${t.host}`,
      slot: t.host - 99,
      aliases: [],
      name: `svc${t.service}.${t.host - 99}.x`,
      ready: t.ready,
    })),
    peers: peers.map((p) => ({ nodeId: `n${p}`, index: p, dataPathAddress: `192.0.2.${p}` })),
  }));
