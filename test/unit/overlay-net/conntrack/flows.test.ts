import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import { sleep } from '../../../../common/clock.js';
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
  const have = (...there: FlowInfo[]): void => void kernel.network().flows.push(...there);
  const left = (): string[] => kernel.network().flows.map((f) => `${f.protocol} ${f.reply.source}`);

  beforeEach(() => {
    kernel = new RecordingKernel();
    clock = new FakeClock();
    flows = new Flows({ conntrack: kernel.conntrack, clock, logger: silentLogger });
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

  it('does in one go what is asked for while it is busy', async () => {
    flows.cut([A]);
    flows.cut([B]);
    flows.cut([C], [A]);
    await flows.cutsDone();
    assert.deepEqual(
      kernel.argsOf('conntrack.removeFlows').map(([filter]) => filter),
      [{ reached: [A] }, { reached: [B, C] }, { reached: [A], protocols: ['udp'] }],
    );
  });

  it('rests after a look for some times as long as that took', async () => {
    const looks: (readonly string[])[] = [];
    const conntrack = {
      ...kernel.conntrack,
      removeFlows: async ({ reached }: { reached: unknown }) => {
        looks.push(reached as string[]);
        await sleep(clock, 10);
        return 0;
      },
    };
    flows = new Flows({ conntrack, clock, logger: silentLogger });
    flows.cut([A]);
    flows.cut([B]);
    await clock.advance(49);
    assert.deepEqual(looks, [[A]]);
    flows.cut([C]);
    await clock.advance(1);
    assert.deepEqual(looks, [[A], [B, C]]);
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
    await flows.clean(state(endpoint(A), endpoint(B, false)), [C]);
    await flows.cutsDone();
    assert.deepEqual(left(), [`tcp ${A}`, `udp ${A}`, `tcp ${C}`, 'udp 10.0.1.1', 'tcp 192.0.2.7']);
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
