import assert from 'node:assert/strict';
import { toDigest } from '../../../../runtime/core/digest.js';
import { Leases } from '../../../../runtime/image/leases.js';

const A = toDigest(`sha256:${'a'.repeat(64)}`);
const B = toDigest(`sha256:${'b'.repeat(64)}`);

describe('leases', () => {
  it('hold what any of them holds, each digest once', async () => {
    const leases = new Leases();
    const [one, other] = [leases.open(), leases.open()];
    await one.hold(A, B, A);
    await other.hold(A);
    assert.deepEqual(one.held, [A, B]);
    one.release();
    one.release();
    assert.deepEqual([leases.isHeld(A), leases.isHeld(B)], [true, false]);
    other.release();
    assert.equal(leases.isHeld(A), false);
  });

  it('grow only while no removal runs, and removals run one at a time', async () => {
    const leases = new Leases();
    const said: string[] = [];
    let finishFirst = (): void => undefined;
    const first = leases.exclusively(async () => {
      said.push('first begins');
      await new Promise<void>((resolve) => (finishFirst = resolve));
      said.push(`first ends, held: ${leases.isHeld(A)}`);
    });
    const second = leases.exclusively(() => {
      said.push(`second, held: ${leases.isHeld(A)}`);
      return Promise.resolve();
    });
    const lease = leases.open();
    const held = lease.hold(A).then(() => said.push('held'));
    await Promise.resolve();
    finishFirst();
    await Promise.all([first, second, held]);
    assert.deepEqual(said, [
      'first begins',
      'first ends, held: false',
      'second, held: false',
      'held',
    ]);
  });

  it('go on after a removal that failed', async () => {
    const leases = new Leases();
    const failing = leases.exclusively(() => Promise.reject(new Error('disk')));
    const lease = leases.open();
    await Promise.all([assert.rejects(failing, /disk/), lease.hold(A)]);
    assert.equal(leases.isHeld(A), true);
  });
});
