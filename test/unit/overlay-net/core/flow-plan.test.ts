import assert from 'node:assert/strict';
import fc from 'fast-check';
import { planFlowCuts, planStaleFlows } from '../../../../overlay-net/core/flow-plan.js';
import type { NetworkState } from '../../../../overlay-net/driver.js';
import {
  NetworkConfig,
  NetworkEndpoint,
  NetworkService,
} from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import { anyState } from './states.js';

const endpoint = (taskId: string, address: string, ready = true): NetworkEndpoint =>
  NetworkEndpoint.fromPartial({ networkId: 'a', taskId, address, ready });
const state = (...endpoints: NetworkEndpoint[]): NetworkState => ({
  nodeId: 'n1',
  networks: [
    NetworkConfig.fromPartial({
      networkId: 'a',
      driver: 'overlay',
      subnets: [
        { subnet: '10.0.1.0/24', gateway: '10.0.1.1' },
        { subnet: '10.0.2.0/24', gateway: '10.0.2.1' },
      ],
    }),
    NetworkConfig.fromPartial({ networkId: 'h', driver: 'host' }),
  ],
  endpoints,
  services: [NetworkService.fromPartial({ networkId: 'a', serviceId: 's', virtualIp: '10.0.1.2' })],
  peers: [],
});

describe('planFlowCuts', () => {
  const cases: {
    name: string;
    before: NetworkEndpoint[];
    after: NetworkEndpoint[];
    all?: string[];
    udp?: string[];
  }[] = [
    { name: 'nothing for an endpoint that comes', before: [], after: [endpoint('t', '10.0.1.5')] },
    {
      name: 'nothing for one that becomes ready',
      before: [endpoint('t', '10.0.1.5', false)],
      after: [endpoint('t', '10.0.1.5')],
    },
    {
      name: 'single packets for one that leaves the balancers',
      before: [endpoint('t', '10.0.1.5')],
      after: [endpoint('t', '10.0.1.5', false)],
      udp: ['10.0.1.5'],
    },
    {
      name: 'all for one that is gone, ready or not',
      before: [endpoint('t', '10.0.1.5'), endpoint('u', '10.0.1.6', false)],
      after: [],
      all: ['10.0.1.5', '10.0.1.6'],
    },
    {
      name: 'all where somebody else has the address now',
      before: [endpoint('t', '10.0.1.5')],
      after: [endpoint('u', '10.0.1.5')],
      all: ['10.0.1.5'],
    },
    {
      name: 'all for the former address of one that moves',
      before: [endpoint('t', '10.0.1.5')],
      after: [endpoint('t', '10.0.1.6')],
      all: ['10.0.1.5'],
    },
    { name: 'nothing for one without an address', before: [endpoint('t', '')], after: [] },
  ];
  for (const { name, before, after, all = [], udp = [] } of cases) {
    it(`cuts ${name}`, () => {
      assert.deepEqual(planFlowCuts(state(...before), state(...after)), { all, udp });
    });
  }

  it('never cuts what stays as it is', () => {
    fc.assert(
      fc.property(anyState, anyState, ({ endpoints }, other) => {
        const addresses = new Set(endpoints.map((e) => e.address));
        const others = other.endpoints.filter((e) => !addresses.has(e.address));
        const before = { ...state(), endpoints: [...endpoints, ...others] };
        const { all, udp } = planFlowCuts(before, { ...state(), endpoints });
        for (const address of [...all, ...udp]) assert.equal(addresses.has(address), false);
        const none = planFlowCuts(before, { ...before, endpoints: [...before.endpoints] });
        assert.deepEqual(none, { all: [], udp: [] });
      }),
    );
  });
});

describe('planStaleFlows', () => {
  it('leaves what the state, the containers of this node and the gateways are reached by', () => {
    const now = state(
      endpoint('t', '10.0.1.5'),
      endpoint('u', '10.0.1.6', false),
      endpoint('v', ''),
    );
    assert.deepEqual(planStaleFlows(now, ['10.0.1.9']), {
      within: ['10.0.1.0/24', '10.0.2.0/24'],
      except: ['10.0.1.5', '10.0.1.6', '10.0.1.9', '10.0.1.1', '10.0.2.1', '10.0.1.2'],
      udp: ['10.0.1.6'],
    });
  });
});
