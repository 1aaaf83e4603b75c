import assert from 'node:assert/strict';
import { silentLogger } from '../../../../common/logger.js';
import { HeartbeatMonitor } from '../../../../manager/rpc/heartbeat-monitor.js';
import type { ProbeAnswer } from '../../../../manager/rpc/host-probe.js';
import { Sessions, type Session } from '../../../../manager/rpc/sessions.js';
import { NodeState } from '../../../../proto/gen/hatoba/v1/types.js';
import { aCluster, aNode } from '../../../support/builders.js';
import { createClusterRig, type ClusterRig } from '../../../support/cluster-rig.js';

const { READY, DISCONNECTED, DOWN } = NodeState;

describe('HeartbeatMonitor', () => {
  let rig: ClusterRig;
  let sessions: Sessions;
  let monitor: HeartbeatMonitor;
  let probed: ProbeAnswer;

  beforeEach(async () => {
    rig = await createClusterRig();
    await rig.put('cluster', aCluster());
    await rig.put('node', aNode({ id: 'w', index: 1, status: { managerId: 'm1' } }));
    sessions = new Sessions(rig);
    probed = 'silent';
    monitor = new HeartbeatMonitor(rig, {
      ...{ sessions, nodeId: 'm1', logger: silentLogger },
      probe: () => Promise.resolve(probed),
    });
  });
  afterEach(async () => {
    await monitor[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
    assert.equal(rig.clock.pendingTimers, 0, 'every timer was cancelled');
  });

  function status(): { state: NodeState | undefined; lostAtMs: number[] } {
    const { state, lostAtMs = [] } = rig.view.node('w')?.status ?? {};
    return { state, lostAtMs };
  }

  /** As registering does. */
  async function come(): Promise<Session> {
    const node = rig.view.findByPrefix('node', 'w');
    const stateChangedAtMs = rig.clock.nowMs();
    const status = { ...node.status, state: READY, stateChangedAtMs, unreachable: false };
    const object = { ...node, status };
    if (node.status.state !== READY) await rig.change('node', object);
    return sessions.open('w');
  }

  /** @returns how long the node was silent before it was in this state */
  async function silenceUntil(state: NodeState): Promise<number> {
    const sinceMs = rig.clock.nowMs();
    while (status().state !== state) await rig.clock.advance(250);
    return rig.clock.nowMs() - sinceMs;
  }

  it('makes a silent node disconnected, then down, and remembers the loss', async () => {
    const session = await come();
    assert.equal(await silenceUntil(DISCONNECTED), 2500);
    assert.equal(session.ended.aborted, false);
    assert.deepEqual(status().lostAtMs, []);
    assert.equal(await silenceUntil(DOWN), 500);
    assert.equal(session.ended.aborted, true);
    assert.deepEqual(status().lostAtMs, [rig.clock.nowMs()]);
  });

  it('makes a node that is heard late ready again, in the same session', async () => {
    const session = await come();
    await rig.clock.advance(2750);
    assert.equal(status().state, DISCONNECTED);
    sessions.require('w', session.id);
    await rig.clock.advance(250);
    assert.deepEqual(status(), { state: READY, lostAtMs: [] });
    assert.equal(session.ended.aborted, false);
    assert.equal(await silenceUntil(DOWN), 2750);
  });

  it('is more patient with each loss of the last half hour, after the first two', async () => {
    const patience: number[] = [];
    for (let i = 0; i < 6; i++) {
      await come();
      patience.push(await silenceUntil(DOWN));
    }
    assert.deepEqual(patience, [3000, 3000, 6000, 12_000, 24_000, 30_000]);
    await rig.clock.advance(30 * 60_000);
    await come();
    assert.equal(await silenceUntil(DOWN), 3000);
    assert.equal(status().lostAtMs.length, 1);
  });

  it('leads nobody to a node that it waits for longer, until it is heard', async () => {
    const isUnreachable = (): boolean | undefined => rig.view.node('w')?.status.unreachable;
    for (let i = 0; i < 2; i++) {
      await come();
      await silenceUntil(DOWN);
    }
    const session = await come();
    await rig.clock.advance(2750);
    assert.deepEqual([status().state, isUnreachable()], [DISCONNECTED, false]);
    await rig.clock.advance(500);
    assert.deepEqual([status().state, isUnreachable()], [DISCONNECTED, true]);
    const { revision } = rig.view;
    await rig.clock.advance(2000);
    assert.equal(rig.view.revision, revision, 'written once');
    sessions.require('w', session.id);
    await rig.clock.advance(250);
    assert.deepEqual([status().state, isUnreachable()], [READY, false]);
  });

  it('counts the silence of a node without a session from its begin, not from its own verdict', async () => {
    assert.equal(await silenceUntil(DISCONNECTED), 4500);
    assert.equal(await silenceUntil(DOWN), 500);
  });

  it('keeps a node whose host is there, until the host is gone too', async () => {
    probed = 'refused';
    await come();
    await rig.clock.advance(120_000);
    assert.equal(status().state, DISCONNECTED);
    probed = 'silent';
    // The last word of the host counts for as long as three heartbeats.
    assert.ok((await silenceUntil(DOWN)) <= 4000);
  });

  it('does not take the last word of an agent for a sign that it is back', async () => {
    probed = 'refused';
    const session = await come();
    const leaving = monitor.disconnect('w');
    await rig.clock.advance(1000);
    await leaving;
    assert.equal(status().state, DISCONNECTED);
    assert.equal(session.ended.aborted, true);
    await rig.clock.advance(60_000);
    assert.deepEqual(status(), { state: DISCONNECTED, lostAtMs: [] });
  });

  it('blames no node for the time in which it did not run itself', async () => {
    await come();
    await rig.clock.advance(1000);
    rig.clock.holdUp(60_000);
    await rig.clock.advance(500);
    assert.equal(status().state, READY);
    assert.ok((await silenceUntil(DOWN)) <= 3000);
  });
});
