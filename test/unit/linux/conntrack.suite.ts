import assert from 'node:assert/strict';
import { describe, it, before, after, beforeEach, afterEach } from 'mocha';
import type { FlowFilter, FlowInfo, Kernel } from '../../../linux/ports.js';
import { flow } from '../../support/fake-flows.js';

/** A kernel, a namespace path that does not exist yet, and a way to have flows there. */
export interface ConntrackUnderTest {
  kernel: Kernel;
  netns: string;
  makeFlows: (flows: readonly FlowInfo[]) => Promise<void>;
  close: () => Promise<void>;
}

const CLIENT = '192.0.2.50';

/** What every Kernel's Conntrack must do, the one in memory too. */
export function describeConntrack(name: string, open: () => Promise<ConntrackUnderTest>): void {
  describe(`Conntrack port: ${name}`, () => {
    let test: ConntrackUnderTest;
    let port: number;
    /** Flows differ by their port, which is how the tests name them. */
    const make = (changes: Parameters<typeof flow>[0]): FlowInfo => {
      const made = flow(changes);
      port += 1;
      return {
        ...made,
        original: { ...made.original, sourcePort: port },
        reply: { ...made.reply, destinationPort: port },
      };
    };
    const ports = async (filter: FlowFilter): Promise<number[]> =>
      (await test.kernel.conntrack.flows(filter, test.netns))
        .map((f) => f.original.sourcePort)
        .sort((a, b) => a - b);
    const byPort = (a: FlowInfo, b: FlowInfo): number =>
      a.original.sourcePort - b.original.sourcePort;

    before(async () => {
      test = await open();
    });
    after(() => test.close());
    beforeEach(async () => {
      port = 40000;
      await test.kernel.namespaces.createNetns(test.netns);
    });
    afterEach(() => test.kernel.namespaces.dropNetns(test.netns));

    it('has nothing to tell of, and nothing to remove, where there was no traffic', async () => {
      const filter = { reached: ['10.0.1.5'] };
      const { conntrack } = test.kernel;
      assert.deepEqual(await conntrack.flows(filter, test.netns), []);
      assert.deepEqual(await conntrack.countFlows(filter, test.netns), new Map());
      assert.equal(await conntrack.removeFlows(filter, test.netns), 0);
    });

    it('tells of a flow all that there is, by the address that was reached', async () => {
      const flows = [
        make({}),
        make({ protocol: 'udp' }),
        make({ state: 'close_wait', zone: 7 }),
        make({ protocol: 'sctp', state: 'established' }),
      ];
      await test.makeFlows([...flows, make({ reached: '10.0.1.6' })]);
      const found = await test.kernel.conntrack.flows({ reached: ['10.0.1.5'] }, test.netns);
      assert.deepEqual([...found].sort(byPort), flows);
    });

    it('finds flows by few addresses, by many, and by subnets', async () => {
      const addresses = Array.from({ length: 9 }, (_, i) => `10.0.1.${i + 1}`);
      await test.makeFlows(addresses.map((reached) => make({ reached })));
      const last = port;
      assert.deepEqual(await ports({ reached: ['10.0.1.9', '10.0.1.2', '10.0.1.2'] }), [
        last - 7,
        last,
      ]);
      const many = await test.kernel.conntrack.countFlows(
        { reached: addresses.slice(1) },
        test.netns,
      );
      assert.deepEqual(
        [...many].sort(),
        addresses.slice(1).map((a) => [a, 1]),
      );
      const within = { within: ['10.0.1.4/30', '10.0.9.0/24'], except: ['10.0.1.6'] };
      assert.deepEqual(await ports({ reached: within }), [last - 5, last - 4, last - 2]);
      assert.deepEqual(await ports({ reached: { within: ['0.0.0.0/0'], except: addresses } }), []);
      assert.deepEqual(await ports({ reached: [] }), []);
    });

    it('finds flows of some protocols', async () => {
      await test.makeFlows([make({}), make({ protocol: 'udp' })]);
      assert.deepEqual(await ports({ reached: ['10.0.1.5'], protocols: ['udp'] }), [port]);
      assert.deepEqual(await ports({ reached: ['10.0.1.5'], protocols: ['sctp'] }), []);
    });

    it('finds flows that asked for another address than the one reached', async () => {
      const original = {
        source: CLIENT,
        destination: '10.0.1.5',
        sourcePort: 5,
        destinationPort: 80,
      };
      await test.makeFlows([make({ original }), make({})]);
      const reached = ['10.0.1.5'];
      assert.equal((await test.kernel.conntrack.flows({ reached }, test.netns)).length, 2);
      assert.deepEqual(await ports({ reached, isTranslated: true }), [port]);
    });

    const states: Record<string, boolean> = {
      syn_sent: false,
      syn_recv: true,
      established: true,
      fin_wait: true,
      close_wait: true,
      last_ack: true,
      time_wait: false,
      close: false,
    };
    it('counts as open by what data may still come', async () => {
      const flows = Object.keys(states).map((state) => make({ state }));
      const udp = make({ protocol: 'udp' });
      const sctp = make({ protocol: 'sctp', state: 'established' });
      await test.makeFlows([...flows, udp, sctp]);
      const open = (
        await test.kernel.conntrack.flows({ reached: ['10.0.1.5'], isOpen: true }, test.netns)
      ).sort(byPort);
      const expected = Object.keys(states).filter((state) => states[state] === true);
      assert.deepEqual(
        open.map((f) => `${f.protocol} ${f.state}`),
        [...expected.map((state) => `tcp ${state}`), 'sctp established'],
      );
    });

    it('does not count what somebody has opened to himself, nor to others', async () => {
      await test.makeFlows([
        make({ client: '10.0.1.5' }),
        make({ client: '10.0.1.5', reached: CLIENT }),
      ]);
      const filter = { reached: ['10.0.1.5'], isOpen: true };
      assert.deepEqual(await test.kernel.conntrack.countFlows(filter, test.netns), new Map());
    });

    it('removes what is meant and nothing else, of every zone', async () => {
      const gone = [make({}), make({ zone: 7 }), make({ protocol: 'udp' })];
      const stays = make({ reached: '10.0.1.6' });
      await test.makeFlows([...gone, stays]);
      const { conntrack } = test.kernel;
      assert.equal(await conntrack.removeFlows({ reached: ['10.0.1.5'] }, test.netns), 3);
      assert.deepEqual(await ports({ reached: ['10.0.1.5', '10.0.1.6'] }), [port]);
      assert.equal(await conntrack.removeFlows({ reached: ['10.0.1.5'] }, test.netns), 0);
    });
  });
}
