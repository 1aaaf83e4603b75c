import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logger.js';
import { NetworkApplier } from '../../../../node-agent/executor/network-applier.js';
import type { NetworkState } from '../../../../overlay-net/driver.js';
import { NetworkConfig, NetworkEndpoint } from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import { NetworkAttachment } from '../../../../proto/gen/hatoba/v1/types.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { assignedTask } from '../tasks.js';

const random = { next: () => 0, bytes: (length: number) => new Uint8Array(length) };
const state = (...ids: string[]): NetworkState => ({
  nodeId: 'n1',
  networks: ids.map((networkId) => NetworkConfig.fromPartial({ networkId, driver: 'overlay' })),
  endpoints: [],
  services: [],
  peers: [],
});
/** Of this node alone. */
const BRIDGE = NetworkConfig.fromPartial({
  networkId: 'bridge',
  driver: 'bridge',
  subnets: [{ subnet: '172.30.0.0/16' }],
});
const taskOn = (...ids: string[]): ReturnType<typeof assignedTask> =>
  assignedTask({
    networksAttachments: ids.map((networkId) =>
      NetworkAttachment.fromPartial({ networkId, networkName: `net-${networkId}` }),
    ),
  });

describe('NetworkApplier', () => {
  let clock: FakeClock;
  let applied: string[];
  let endpoints: NetworkState['endpoints'][];
  /** After how many states connections of a former time were ended. */
  let endings: number[];
  let changes: number;
  let kept: number[];
  /** The revisions that managers were told of. */
  let shown: number[];
  /** What the driver still has to cut. */
  let cutting: Promise<void>;
  /** What the driver does with each call; ends it when called. */
  let calls: { end: () => void; fail: (error: Error) => void }[];
  let applier: NetworkApplier;
  let local: Pick<NetworkState, 'networks' | 'endpoints'>;

  beforeEach(() => {
    clock = new FakeClock();
    applied = [];
    endpoints = [];
    endings = [];
    changes = 0;
    kept = [];
    calls = [];
    shown = [];
    cutting = Promise.resolve();
    local = { networks: [], endpoints: [] };
    applier = new NetworkApplier(
      { nodeId: 'n1', needsCluster: false },
      {
        localPart: () => local,
        driver: {
          apply: (wanted) =>
            new Promise((resolve, reject) => {
              applied.push(wanted.networks.map((n) => n.networkId).join());
              endpoints.push(wanted.endpoints);
              calls.push({ end: resolve, fail: reject });
            }),
          leavingDone: () => cutting,
          endStaleConnections: () => {
            endings.push(applied.length);
            return Promise.resolve();
          },
        },
        keep: ({ revision }) => {
          kept.push(revision);
          return Promise.resolve();
        },
        clock,
        random,
        log: silentLogger,
        onChange: () => changes++,
        onShown: () => shown.push(applier.shownRevision),
      },
    );
  });

  const want = async (revision: number, wanted: NetworkState): Promise<void> => {
    applier.apply(revision, wanted);
    await clock.advance(0);
  };

  it('tells a revision once what it makes wrong is cut', async () => {
    let cut = (): void => undefined;
    cutting = new Promise((resolve) => (cut = resolve));
    await want(5, state('net-a'));
    calls.at(-1)?.end();
    await clock.advance(0);
    assert.deepEqual([applier.shownRevision, shown], [0, []]);
    assert.equal(changes, 1, 'tasks need not wait for it');
    cut();
    await clock.advance(0);
    assert.deepEqual([applier.shownRevision, shown], [5, [5]]);
  });

  it('knows a revision as applied once the driver is done', async () => {
    await want(5, state('a'));
    assert.deepEqual(kept, [5], 'on disk before it is in force');
    assert.equal(applier.shownRevision, 0);
    assert.equal(applier.waitOf(taskOn('a')), 'waiting for network "net-a" on this node');
    calls[0]?.end();
    await clock.advance(0);
    assert.equal(applier.shownRevision, 5);
    assert.equal(applier.waitOf(taskOn('a')), '');
    assert.equal(applier.driverOf('a'), 'overlay');
    assert.equal(applier.reasonFor('a'), '');
    assert.match(applier.reasonFor('b'), /tell this node of no such network/);
    assert.equal(changes, 1);
  });

  it('leaves out a network that overlaps one of this node, with all on it, and says so', async () => {
    const network = (networkId: string, subnet: string): NetworkConfig =>
      NetworkConfig.fromPartial({ networkId, subnets: [{ subnet }], driver: 'overlay' });
    const endpoints = ['a', 'b'].map((networkId) => NetworkEndpoint.fromPartial({ networkId }));
    local = { networks: [BRIDGE], endpoints: [] };
    const networks = [network('a', '172.30.8.0/24'), network('b', '10.0.0.0/24')];
    await want(5, { ...state(), networks, endpoints });
    assert.deepEqual(applied, ['b,bridge']);
    calls[0]?.end();
    await clock.advance(0);
    assert.equal(applier.shownRevision, 5);
    assert.equal(applier.waitOf(taskOn('b')), '');
    assert.equal(
      applier.waitOf(taskOn('a', 'b')),
      'waiting for network "net-a" on this node: its subnet 172.30.8.0/24 overlaps 172.30.0.0/16, where containers of this node alone are: remove them, or give it another subnet',
    );
    assert.match(applier.reasonFor('a'), /^its subnet 172\.30\.8\.0\/24 overlaps/);
    local = {
      networks: [{ ...BRIDGE, subnets: [{ subnet: '172.20.0.0/16', gateway: '172.20.0.1' }] }],
      endpoints: [],
    };
    applier.localChanged();
    await clock.advance(0);
    assert.notEqual(applier.reasonFor('bridge'), '', 'it moves');
    calls[1]?.end();
    await clock.advance(0);
    assert.deepEqual(applied, ['b,bridge', 'a,b,bridge']);
    assert.equal(applier.waitOf(taskOn('a')), '');
    assert.equal(changes, 2, 'tasks that waited for it are told');
  });

  it('ends connections of a former time once, by what the managers say now', async () => {
    applier.resume(3, state('a'));
    await clock.advance(0);
    await want(5, state('a', 'b'));
    calls[0]?.end();
    await clock.advance(0);
    assert.deepEqual(endings, [], 'what was kept is older than the connections may be');
    calls[1]?.end();
    await clock.advance(0);
    await want(6, state('b'));
    calls[2]?.end();
    await clock.advance(0);
    assert.deepEqual([applied, endings], [['a', 'a,b', 'b'], [2]]);
  });

  describe('with a task of this node that has ended', () => {
    const endpoint = (taskId: string, ready: boolean): NetworkEndpoint =>
      NetworkEndpoint.fromPartial({ networkId: 'a', taskId, ready });
    const [own, other] = [endpoint('t1', true), endpoint('t2', true)];
    const withEndpoints = (...there: NetworkEndpoint[]): NetworkState => ({
      ...state('a'),
      endpoints: there,
    });
    const newest = (): string =>
      (endpoints.at(-1) ?? []).map((e) => `${e.taskId} ${e.ready}`).join();
    const endLast = async (): Promise<void> => {
      calls.at(-1)?.end();
      await clock.advance(0);
    };
    beforeEach(async () => {
      await want(5, withEndpoints(own, other));
      await endLast();
    });

    it('leads nothing to it until the managers know, and says when that is so', async () => {
      let isDone = false;
      void applier.withdraw('t1').then(() => (isDone = true));
      await clock.advance(0);
      assert.equal(newest(), 't1 false,t2 true');
      assert.equal(isDone, false);
      await endLast();
      assert.equal(isDone, true);
      assert.equal(endpoints[1]?.[1], other, 'what stays is the same object');
      assert.deepEqual([applier.shownRevision, changes], [5, 1], 'no news for the managers');
      const before = endpoints[1][0];
      await want(6, withEndpoints(own, other, endpoint('t3', true)));
      await endLast();
      assert.equal(newest(), 't1 false,t2 true,t3 true');
      assert.equal(endpoints[2]?.[0], before);
      await want(7, withEndpoints(other));
      await endLast();
      await want(8, withEndpoints(own, other));
      assert.equal(newest(), 't1 true,t2 true', 'forgotten once it was gone');
    });

    it('holds it back also if it is only told of as ready later', async () => {
      await want(6, withEndpoints(endpoint('t1', false)));
      await endLast();
      await applier.withdraw('t1');
      assert.equal(calls.length, 2, 'nothing to change');
      await want(7, withEndpoints(own));
      assert.equal(newest(), 't1 false');
    });

    it('waits for nothing where there is nothing to withdraw', async () => {
      await applier.withdraw('t9');
      assert.equal(calls.length, 1);
    });

    it('does not wait for ever for a driver that fails', async () => {
      const done = applier.withdraw('t1');
      await clock.advance(0);
      calls.at(-1)?.fail(new Error('no such link'));
      await done;
    });

    it('is not held up by states that come meanwhile', async () => {
      await want(6, withEndpoints(own, other));
      const done = applier.withdraw('t1');
      await want(7, withEndpoints(own, other));
      await endLast();
      await want(8, withEndpoints(own, other));
      await endLast();
      await done;
      assert.equal(endpoints.at(-2)?.[0]?.ready, false);
    });
  });

  it('skips states that are overtaken, and still gets on', async () => {
    await want(5, state('a'));
    await want(6, state('b'));
    await want(7, state('c'));
    calls[0]?.end();
    await clock.advance(0);
    assert.equal(applier.shownRevision, 5, 'under a steady stream of changes, too');
    calls[1]?.end();
    await clock.advance(0);
    assert.deepEqual(applied, ['a', 'c']);
    assert.equal(applier.shownRevision, 7);
  });

  it('lets a task wait whose network is on its way out, and wanted again', async () => {
    await want(5, state('a', 'b'));
    calls[0]?.end();
    await clock.advance(0);
    await want(6, state('b'));
    await want(7, state('a', 'b'));
    assert.equal(applier.waitOf(taskOn('a')), 'waiting for network "net-a" on this node');
    assert.equal(applier.waitOf(taskOn('b')), '');
    calls[1]?.end();
    await clock.advance(0);
    assert.notEqual(applier.waitOf(taskOn('a')), '');
    calls[2]?.end();
    await clock.advance(0);
    assert.deepEqual(applied, ['a,b', 'b', 'a,b']);
    assert.equal(applier.waitOf(taskOn('a')), '');
  });

  it('confirms revisions that change no network', async () => {
    applier.confirm(4);
    await clock.advance(0);
    assert.equal(applier.shownRevision, 4);
    await want(5, state('a'));
    applier.confirm(6);
    assert.equal(applier.shownRevision, 4, 'not while one is under way');
    calls[0]?.end();
    await clock.advance(0);
    assert.equal(applier.shownRevision, 6);
  });

  it('tries again, and tells waiting tasks why they wait', async () => {
    await want(5, state('a'));
    calls[0]?.fail(new Error('vxlan: operation not permitted'));
    await clock.advance(0);
    assert.match(applier.waitOf(taskOn('a')), /on this node: vxlan: operation not permitted/);
    await clock.advance(5000);
    calls[1]?.end();
    await clock.advance(0);
    assert.equal(applier.waitOf(taskOn('a')), '');
  });

  it('adds the networks of this node to those of the cluster, of which it keeps the latter', async () => {
    local = { networks: [BRIDGE], endpoints: [] };
    applier.localChanged();
    await clock.advance(0);
    calls[0]?.end();
    await applier.settled();
    assert.deepEqual(applied, ['bridge'], 'before any manager has said anything');
    assert.deepEqual(kept, []);
    await want(5, state('a'));
    calls[1]?.end();
    await applier.settled();
    assert.equal(changes, 2);
    applier.localChanged();
    await clock.advance(0);
    applier.confirm(6);
    calls[2]?.end();
    await applier.settled();
    assert.deepEqual(applied, ['bridge', 'a,bridge', 'a,bridge']);
    assert.deepEqual(kept, [5]);
    assert.equal(applier.shownRevision, 6);
    assert.equal(changes, 2, 'tasks and managers are not told of what is not theirs');
  });

  it('applies once more what this node has changed meanwhile', async () => {
    await want(5, state('a'));
    local = { networks: [BRIDGE], endpoints: [] };
    applier.localChanged();
    calls[0]?.end();
    await clock.advance(0);
    assert.deepEqual(applied, ['a', 'a,bridge']);
    assert.equal(applier.shownRevision, 5);
  });

  it('is settled, too, when it cannot go on', async () => {
    applier.localChanged();
    await clock.advance(0);
    assert.equal(applier.reasonFor('bridge'), 'it is being made');
    calls[0]?.fail(new Error('no bridges here'));
    await applier.settled();
    assert.equal(applier.reasonFor('bridge'), 'no bridges here');
  });

  it('tries a newer state at once', async () => {
    await want(5, state('a'));
    calls[0]?.fail(new Error('busy'));
    await clock.advance(0);
    await want(6, state('b'));
    assert.deepEqual(applied, ['a', 'b']);
    assert.equal(clock.pendingTimers, 0);
  });
});
