import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Freezer } from '../../../../runtime/cgroup/freezer.js';
import { FakeClock } from '../../../support/fake-clock.js';

/** The files as the kernel has them, in an ordinary folder: nothing freezes by itself. */
describe('Freezer', () => {
  let dir: string;
  let clock: FakeClock;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'ht-freezer-'));
    clock = new FakeClock();
  });
  afterEach(() => {
    rmSync(dir, { recursive: true });
  });

  const file = (name: string): string => join(dir, 'c1', name);
  function open(version: 1 | 2, roots: readonly string[]): Freezer {
    return new Freezer(
      { version, hybrid: false, roots, memoryRoot: undefined, controllers: {} },
      clock,
    );
  }
  function openV1(): Freezer {
    const root = join(dir, 'freezer');
    mkdirSync(join(root, 'c1'), { recursive: true });
    return open(1, [join(dir, 'cpu,cpuacct'), root]);
  }
  const stateV1 = (): string => join(dir, 'freezer/c1/freezer.state');

  it('waits on version 1 until the kernel says that all stand still', async () => {
    const freezer = openV1();
    const done = freezer.freeze('/c1');
    assert.equal(readFileSync(stateV1(), 'utf8'), 'FROZEN');
    await done;
    assert.ok(freezer.isFreezing('/c1'));
    freezer.thaw('/c1');
    assert.equal(readFileSync(stateV1(), 'utf8'), 'THAWED');
    assert.ok(!freezer.isFreezing('/c1'));
  });

  it('waits on version 2 for the event, not for the wish', async () => {
    mkdirSync(join(dir, 'c1'));
    writeFileSync(file('cgroup.events'), 'populated 1\nfrozen 0\n');
    const freezer = open(2, [dir]);
    let isDone = false;
    const done = freezer.freeze('/c1').then(() => {
      isDone = true;
    });
    await clock.advance(100);
    assert.ok(!isDone);
    assert.equal(readFileSync(file('cgroup.freeze'), 'utf8'), '1');
    writeFileSync(file('cgroup.events'), 'populated 1\nfrozen 1\n');
    await clock.advance(10);
    await done;
  });

  it('gives up, and lets all run on, when they do not stand still in time', async () => {
    mkdirSync(join(dir, 'c1'));
    writeFileSync(file('cgroup.events'), 'frozen 0\n');
    const failed = assert.rejects(open(2, [dir]).freeze('/c1'), { kind: 'deadline' });
    await clock.advance(10_100);
    await failed;
    assert.equal(readFileSync(file('cgroup.freeze'), 'utf8'), '0');
  });

  it('stops waiting when somebody thaws it', async () => {
    mkdirSync(join(dir, 'c1'));
    writeFileSync(file('cgroup.events'), 'frozen 0\n');
    const freezer = open(2, [dir]);
    const failed = assert.rejects(freezer.freeze('/c1'), { kind: 'failed-precondition' });
    freezer.thaw('/c1');
    await clock.advance(10);
    await failed;
  });

  it('has nothing to thaw where the cgroup is gone, and says where there is no freezer', async () => {
    open(2, [dir]).thaw('/gone');
    assert.ok(!open(2, [dir]).isFreezing('/gone'));
    const none = open(1, [join(dir, 'cpu')]);
    none.thaw('/c1');
    await assert.rejects(none.freeze('/c1'), /no freezer/);
  });
});
