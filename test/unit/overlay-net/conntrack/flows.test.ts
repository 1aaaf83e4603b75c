import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import { silentLogger } from '../../../../common/logger.js';
import type { FlowInfo } from '../../../../linux/ports.js';
import { Flows } from '../../../../overlay-net/conntrack/flows.js';
import type { NetworkState } from '../../../../overlay-net/driver.js';
import { NetworkConfig, NetworkEndpoint } from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { flow } from '../../../support/fake-flows.js';
import { RecordingKernel } from '../../../support/recording-kernel.js';

const endpoint = (address: string, ready = true): NetworkEndpoint =>
  NetworkEndpoint.fromPartial({ networkId: 'a', taskId: `task-${address}`, address, ready });
const state = (...endpoints: NetworkEndpoint[]): NetworkState => ({
  nodeId: 'n1',
  networks: [
    NetworkConfig.fromPartial({
      networkId: 'a',
      driver: 'overlay',
      subnets: [{ subnet: '10.0.1.0/24', gateway: '10.0.1.1' }],
    }),
  ],
  endpoints,
  services: [],
  peers: [],
});
const [A, B, C] = ['10.0.1.5', '10.0.1.6', '10.0.1.7'] as const;

describe('Flows', () => {
  let kernel: RecordingKernel;
  let clock: FakeClock;
  let flows: Flows;
  let picks: string;
  const have = (...there: FlowInfo[]): void => void kernel.network().flows.push(...there);
  const left = (): string[] => kernel.network().flows.map((f) => `${f.protocol} ${f.reply.source}`);

  beforeEach(() => {
    kernel = new RecordingKernel();
    clock = new FakeClock();
    picks = '0';
    const picksOfUdp = (): Promise<string> => Promise.resolve(picks);
    flows = new Flows({ conntrack: kernel.conntrack, picksOfUdp, clock, logger: silentLogger });
  });

  it('cuts by what a step of the state makes wrong, and nothing by the first state', async () => {
    const both = [A, B, C].flatMap((reached) => [
      flow({ reached }),
      flow({ reached, protocol: 'udp' }),
    ]);
    have(...both);
    flows.follow(state(endpoint(A), endpoint(B)));
    await flows.cutsDone();
    assert.equal(left().length, 6);
    flows.follow(state(endpoint(A, false)));
    await flows.cutsDone();
    assert.deepEqual(left(), [`tcp ${A}`, `tcp ${C}`, `udp ${C}`]);
  });

  it('lets what was sent to a leaving address by itself go on, which leads nowhere else', async () => {
    const original = { source: C, destination: A, sourcePort: 40001, destinationPort: 8080 };
    have(flow({ reached: A, protocol: 'udp' }), flow({ reached: A, protocol: 'udp', original }));
    flows.follow(state(endpoint(A)));
    flows.follow(state(endpoint(A, false)));
    await flows.leavingDone();
    assert.deepEqual(
      kernel.network().flows.map((f) => f.original),
      [original],
    );
  });

  it('cuts nothing of what begins at an address that comes back', async () => {
    const [ready, leaving, gone] = [state(endpoint(A)), state(endpoint(A, false)), state()];
    for (const before of [leaving, gone]) {
      flows.follow(ready);
      have(flow({ reached: A, protocol: 'udp' }));
      // both looks are busy
      flows.cut([B]);
      flows.follow(state(endpoint(A), endpoint(C)));
      flows.follow(state(endpoint(A), endpoint(C, false)));
      flows.follow(before);
      await flows.settleFor(ready);
      assert.deepEqual(left(), []);
      flows.follow(ready);
      have(flow({ reached: A, protocol: 'udp' }), flow({ reached: A }));
      await clock.advance(1000);
      await flows.cutsDone();
      assert.deepEqual(left(), [`udp ${A}`, `tcp ${A}`]);
      kernel.network().flows = [];
    }
  });

  it('looks for flows of UDP only where somebody was picked since there was none', async () => {
    const looks = async (): Promise<number> => {
      const before = kernel.argsOf('conntrack.countFlows').length;
      flows.follow(state(endpoint(A)));
      flows.follow(state(endpoint(A, false)));
      await flows.leavingDone();
      return kernel.argsOf('conntrack.countFlows').length - before;
    };
    flows.follow(state());
    assert.deepEqual([await looks(), await looks(), await looks()], [1, 1, 0]);
    picks = '1';
    have(flow({ reached: A, protocol: 'udp' }), flow({ reached: B, protocol: 'udp' }));
    assert.equal(await looks(), 1);
    assert.deepEqual(left(), [`udp ${B}`]);
    assert.equal(await looks(), 1, 'one is left');
    kernel.network().flows = [];
    assert.deepEqual([await looks(), await looks()], [1, 0]);
    assert.equal(kernel.argsOf('conntrack.removeFlows').length, 1);
  });

  it('cuts also where it cannot tell whether somebody was picked', async () => {
    have(flow({ reached: A, protocol: 'udp' }));
    kernel.failNext('conntrack.countFlows', new HatobaError('internal', 'busy'));
    flows.follow(state(endpoint(A)));
    flows.follow(state(endpoint(A, false)));
    await flows.leavingDone();
    assert.deepEqual(left(), []);
  });

  it('knows the addresses that somebody else gets in one step', () => {
    assert.deepEqual(flows.handedOver(state(endpoint(A))), new Set());
    flows.follow(state(endpoint(A), endpoint(B), endpoint(C)));
    const other = { ...endpoint(B), taskId: 'another' };
    assert.deepEqual(flows.handedOver(state(endpoint(A, false), other)), new Set([B]));
  });

  it('goes on after a failure', async () => {
    have(flow({ reached: B }));
    kernel.failNext('conntrack.removeFlows', new HatobaError('internal', 'busy'));
    flows.cut([A]);
    flows.cut([B]);
    await flows.cutsDone();
    assert.deepEqual(left(), []);
  });

  it('ends what a former time has left, and only that', async () => {
    have(
      flow({ reached: A }),
      flow({ reached: A, protocol: 'udp' }),
      flow({ reached: B, protocol: 'udp' }),
      flow({ reached: C }),
      flow({ reached: '10.0.1.99' }),
      flow({ reached: '10.0.1.1', protocol: 'udp' }),
      flow({ reached: '192.0.2.7' }),
    );
    const now = state(endpoint(A), endpoint(B, false));
    flows.follow(now);
    await flows.clean(now, [C]);
    await flows.cutsDone();
    assert.deepEqual(left(), [`tcp ${A}`, `udp ${A}`, `tcp ${C}`, 'udp 10.0.1.1', 'tcp 192.0.2.7']);
  });

  it('lets nothing begin at an address while what a former time has left is ended', async () => {
    let finish: () => void = () => undefined;
    const removeFlows = (): Promise<number> =>
      new Promise((resolve) => {
        finish = () => {
          resolve(0);
        };
      });
    const conntrack = { ...kernel.conntrack, removeFlows };
    const picksOfUdp = (): Promise<string> => Promise.resolve(picks);
    flows = new Flows({ conntrack, picksOfUdp, clock, logger: silentLogger });
    flows.follow(state(endpoint(A)));
    const cleaning = flows.clean(state(endpoint(A)), []);
    let isSettled = false;
    const settled = flows.settleFor(state(endpoint(B))).then(() => (isSettled = true));
    await clock.advance(0);
    assert.equal(isSettled, false);
    finish();
    await Promise.all([cleaning, settled]);
  });

  it('counts what others have open, for each who asks', async () => {
    have(flow({ reached: A }), flow({ reached: A, state: 'close_wait' }), flow({ reached: B }));
    have(flow({ reached: A, protocol: 'udp' }), flow({ reached: A, state: 'time_wait' }));
    const counts = await Promise.all([
      flows.countOpen([A]),
      flows.countOpen([B, C]),
      flows.countOpen([]),
    ]);
    assert.deepEqual(counts, [2, 1, 0]);
    assert.equal(kernel.argsOf('conntrack.countFlows').length, 1, 'one look for all');
  });

  it('counts anew for who asks later, also after a failure', async () => {
    kernel.failNext('conntrack.countFlows', new HatobaError('unavailable', 'busy'));
    await assert.rejects(flows.countOpen([A]), /busy/);
    assert.equal(await flows.countOpen([A]), 0);
    have(flow({ reached: A }));
    assert.equal(await flows.countOpen([A]), 1);
  });
});
