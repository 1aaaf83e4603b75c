import assert from 'node:assert/strict';
import { Mutex } from '../../../../common/mutex.js';
import { silentLogger, type Logger } from '../../../../common/logger.js';
import type { Checkable, Repair } from '../../../../overlay-net/core/drift.js';
import { DriftChecker } from '../../../../overlay-net/drift/drift-checker.js';
import { FakeClock } from '../../../support/fake-clock.js';

/** A part that finds what a test puts there. */
class FakePart implements Checkable {
  readonly part: string;
  found: Repair[] = [];
  looks = 0;
  onLook: () => Promise<void> = () => Promise.resolve();

  constructor(part: string) {
    this.part = part;
  }

  async isSuspect(): Promise<boolean> {
    this.looks++;
    await this.onLook();
    return this.found.length > 0;
  }

  repair(): Promise<Repair[]> {
    return Promise.resolve(this.found.splice(0));
  }
}

const repairsOf = (count: number): Repair[] =>
  Array.from({ length: count }, (_, i) => ({ change: 'added', what: `neigh ${i}` }));

describe('drift checks', () => {
  let clock: FakeClock;
  let lines: string[];
  let mutex: Mutex;

  beforeEach(() => {
    clock = new FakeClock();
    mutex = new Mutex();
    lines = [];
  });

  function open(...parts: Checkable[]): DriftChecker {
    const logger: Logger = {
      ...silentLogger,
      warn: (_message, fields = {}) => {
        const { part, what, count } = fields;
        const text = typeof what === 'string' ? what : typeof count === 'number' ? count : 'failed';
        lines.push(`${String(part)}: ${text}`);
      },
    };
    return new DriftChecker(parts, { clock, logger, mutex });
  }

  it('come every three seconds, and tell each repair once', async () => {
    const part = new FakePart('links');
    await using checker = open(part);
    checker.start();
    await clock.advance(9_000);
    assert.equal(part.looks, 3);
    part.found = repairsOf(2);
    await clock.advance(6_000);
    assert.deepEqual(lines, ['links: neigh 0', 'links: neigh 1']);
  });

  it('are further apart when they take long, but not by more than eight seconds', async () => {
    const part = new FakePart('links');
    const advanceInside = async (ms: number): Promise<void> =>
      new Promise((resolve) => {
        clock.setTimer(ms, resolve);
      });
    part.onLook = () => advanceInside(200);
    await using checker = open(part);
    checker.start();
    await clock.advance(3_000 + 200 + 3_999);
    assert.equal(part.looks, 1);
    await clock.advance(1);
    assert.equal(part.looks, 2);
    part.onLook = () => advanceInside(1_000);
    await clock.advance(200 + 4_000 + 1_000 + 7_999);
    assert.equal(part.looks, 3);
    await clock.advance(1);
    assert.equal(part.looks, 4);
    await clock.advance(1_000);
  });

  it('tell so many repairs one by one, the rest by their number', async () => {
    const part = new FakePart('links');
    part.found = repairsOf(50);
    await using checker = open(part);
    await checker.check();
    assert.equal(lines.length, 21);
    assert.deepEqual(lines.slice(-2), ['links: neigh 19', 'links: 30']);
  });

  it('go on with the other parts when one fails', async () => {
    const [broken, sound] = [new FakePart('links'), new FakePart('nftables')];
    broken.onLook = () => Promise.reject(new Error('no kernel'));
    sound.found = repairsOf(1);
    await using checker = open(broken, sound);
    await checker.check();
    assert.deepEqual(lines, ['links: failed', 'nftables: neigh 0']);
  });

  it('see what was changed before they were asked for, whatever one under way has seen', async () => {
    const [links, nftables] = [new FakePart('links'), new FakePart('nftables')];
    let finish: () => void = () => undefined;
    nftables.onLook = () => new Promise((resolve) => (finish = resolve));
    await using checker = open(links, nftables);
    const running = checker.check();
    await clock.advance(0);
    assert.deepEqual([links.looks, nftables.looks], [1, 1]);
    links.found = repairsOf(1);
    nftables.onLook = () => Promise.resolve();
    const asked = [checker.check(), checker.check()];
    finish();
    await running;
    await Promise.all(asked);
    assert.deepEqual([links.looks, nftables.looks], [2, 2]);
    assert.deepEqual(lines, ['links: neigh 0']);
  });

  it('repair while nothing is applied', async () => {
    const part = new FakePart('links');
    part.found = repairsOf(1);
    await using checker = open(part);
    let finish: () => void = () => undefined;
    const applying = mutex.run(() => new Promise<void>((resolve) => (finish = resolve)));
    const checking = checker.check();
    await clock.advance(0);
    assert.equal(part.found.length, 1, 'it waits');
    finish();
    await applying;
    await checking;
    assert.equal(part.found.length, 0);
  });

  it('end when the checker is closed, and leave no timer', async () => {
    const part = new FakePart('links');
    const checker = open(part);
    checker.start();
    await checker[Symbol.asyncDispose]();
    await clock.advance(60_000);
    assert.deepEqual([part.looks, clock.pendingTimers], [0, 0]);
  });
});
