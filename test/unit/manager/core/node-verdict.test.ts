import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isSettling, recentLosses, toleranceMs } from '../../../../manager/core/node-trust.js';
import { judgeNode, type SignsOfLife } from '../../../../manager/core/node-verdict.js';
import { NodeState } from '../../../../proto/gen/hatoba/v1/types.js';
import { aNode } from '../../../support/builders.js';

const { READY, DISCONNECTED, DOWN } = NodeState;
const NOW = 1_700_000_000_000;
const MINUTE = 60_000;

const wellReady: SignsOfLife = {
  state: READY,
  stateForMs: 60_000,
  silentMs: 500,
  isConnected: true,
  refusedAgoMs: Infinity,
  heartbeatPeriodMs: 1000,
  losses: 0,
  isUnreachable: false,
};
const silent: SignsOfLife = { ...wellReady, state: DISCONNECTED, stateForMs: 900, silentMs: 2900 };

interface Past {
  state: NodeState;
  changedAtMs: number;
  lostAtMs: number[];
  isUnreachable: boolean;
}

const unreachable = { isUnreachable: true };

type Case = [name: string, signs: Partial<SignsOfLife>, state?: NodeState, message?: RegExp];

describe('judgeNode', () => {
  const ready: Case[] = [
    ['that is heard stays', {}],
    ['whose one heartbeat is late stays', { silentMs: 2499 }],
    [
      'that misses two is disconnected',
      { silentMs: 2500 },
      DISCONNECTED,
      /^no heartbeat for 2.5 s$/,
    ],
    ['that is silent for long is disconnected first', { silentMs: 90_000 }, DISCONNECTED],
    ['without a session as well', { silentMs: 2500, isConnected: false }, DISCONNECTED],
    [
      'whose host is there is said to have lost its agent',
      { silentMs: 2500, refusedAgoMs: 300 },
      DISCONNECTED,
      /the host is there, its agent is not/,
    ],
    ['follows the period', { silentMs: 9999, heartbeatPeriodMs: 4000 }],
  ];
  for (const [name, signs, state, message] of ready) {
    it(`a ready node ${name}`, () => check({ ...wellReady, ...signs }, state, message));
  }

  const disconnected: Case[] = [
    ['that is silent for less than three heartbeats stays', {}],
    ['that misses the third is down', { silentMs: 3000 }, DOWN, /^no heartbeat for 3.0 s$/],
    ['whose host is there stays', { silentMs: 90_000, refusedAgoMs: 2999 }],
    ['whose host was there a while ago is down', { silentMs: 90_000, refusedAgoMs: 3000 }, DOWN],
    [
      'whose host is there is down in the end',
      { stateForMs: 5 * MINUTE, silentMs: 90_000, refusedAgoMs: 300 },
      DOWN,
      /did not come back in time/,
    ],
    ['that is heard is ready', { silentMs: 100 }, READY, /^$/],
    ['that is heard is ready, however late', { silentMs: 100, stateForMs: 5 * MINUTE }, READY],
    ['that left is not heard', { silentMs: 100, isConnected: false }],
    ['with one loss is down as soon', { losses: 1, silentMs: 3000 }, DOWN],
    [
      'with two losses is not asked for anything meanwhile',
      { losses: 2, silentMs: 3000 },
      DISCONNECTED,
    ],
    ['with two losses is waited for longer', { ...unreachable, losses: 2, silentMs: 5999 }],
    ['with two losses is down too', { losses: 2, silentMs: 6000 }, DOWN],
    [
      'with many losses is waited for half a minute',
      { ...unreachable, losses: 10, silentMs: 29_999 },
    ],
    [
      'that could not be reached is ready when it is heard',
      { ...unreachable, silentMs: 100 },
      READY,
    ],
    ['with many losses is down too', { losses: 10, silentMs: 30_000 }, DOWN],
  ];
  for (const [name, signs, state, message] of disconnected) {
    it(`a disconnected node ${name}`, () => check({ ...silent, ...signs }, state, message));
  }

  it('a node that is heard within two periods is never lost; one in silence is, once, by way of disconnected', () => {
    const gap = fc.oneof(
      fc.integer({ min: 100, max: 1700 }),
      fc.integer({ min: 2500, max: 100_000 }),
    );
    fc.assert(
      fc.property(fc.array(gap, { maxLength: 30 }), (gaps) => {
        let node: Past = { state: READY, changedAtMs: NOW, lostAtMs: [], isUnreachable: false };
        let nowMs = NOW;
        for (const gapMs of gaps) {
          const heardMs = nowMs;
          const losses = recentLosses(node.lostAtMs, nowMs).length;
          for (; nowMs < heardMs + gapMs; nowMs += 250) {
            const verdict = judgeNode({
              ...wellReady,
              state: node.state,
              stateForMs: nowMs - node.changedAtMs,
              silentMs: nowMs - heardMs,
              losses: recentLosses(node.lostAtMs, nowMs).length,
              isUnreachable: node.isUnreachable,
            });
            if (verdict === undefined) continue;
            assert.ok(verdict.state !== DOWN || node.state === DISCONNECTED);
            if (verdict.state === DOWN) node.lostAtMs = [...node.lostAtMs, nowMs];
            const { state, isUnreachable } = verdict;
            assert.ok(state !== node.state || (isUnreachable && !node.isUnreachable));
            node = { ...node, state, isUnreachable, changedAtMs: nowMs };
            if (verdict.state === DOWN) break;
          }
          nowMs = heardMs + gapMs;
          if (gapMs < 2000) assert.notEqual(node.state, DOWN);
          // A loss may be forgotten meanwhile, which makes the patience less.
          if (gapMs > toleranceMs(losses, 1000) + 250) assert.equal(node.state, DOWN);
          if (gapMs < toleranceMs(0, 1000)) assert.ok(node.state !== DOWN && !node.isUnreachable);
          else if (gapMs > toleranceMs(0, 1000) + 250) assert.ok(node.isUnreachable);
          // Its next session makes it ready.
          if (node.state === DOWN)
            node = { ...node, state: READY, changedAtMs: nowMs, isUnreachable: false };
        }
      }),
    );
  });
});

function check(signs: SignsOfLife, state: NodeState | undefined, message?: RegExp): void {
  const verdict = judgeNode(signs);
  assert.equal(verdict?.state, state);
  if (message !== undefined) assert.match(verdict?.message ?? '', message);
}

describe('trust in a node', () => {
  it('is at least three heartbeats, whatever their period', () => {
    assert.deepEqual(
      [0, 1, 2, 3, 4, 5, 10].map((n) => toleranceMs(n, 1000)),
      [3000, 3000, 6000, 12_000, 24_000, 30_000, 30_000],
    );
    assert.deepEqual(
      [0, 3].map((n) => toleranceMs(n, 20_000)),
      [60_000, 60_000],
    );
  });

  it('forgets losses of more than half an hour ago, and all but ten', () => {
    const lost = [NOW - 30 * MINUTE, NOW - 30 * MINUTE + 1, NOW - 1];
    assert.deepEqual(recentLosses(lost, NOW), lost.slice(1));
    const many = Array.from({ length: 20 }, (_, i) => NOW - 20 + i);
    assert.deepEqual(recentLosses(many, NOW), many.slice(10));
  });

  const settling: [name: string, losses: number, backForMs: number, isSettling: boolean][] = [
    ['was never lost', 0, 0, false],
    ['came back once', 1, 0, false],
    ['came back twice, not long ago', 2, 29_999, true],
    ['came back twice, a while ago', 2, 30_000, false],
    ['came back thrice', 3, 59_999, true],
    ['came back again and again', 10, 5 * MINUTE - 1, true],
    ['came back again and again, minutes ago', 10, 5 * MINUTE, false],
  ];
  for (const [name, losses, backForMs, expected] of settling) {
    it(`makes a node that ${name} ${expected ? '' : 'not '}the last choice`, () => {
      const lostAtMs = Array.from({ length: losses }, (_, i) => NOW - 10 * MINUTE + i);
      const node = aNode({ status: { state: READY, stateChangedAtMs: NOW - backForMs, lostAtMs } });
      assert.equal(isSettling(node, NOW), expected);
    });
  }
});
