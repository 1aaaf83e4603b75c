import assert from 'node:assert/strict';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import fc from 'fast-check';
import { Attachment, type AttachmentOptions } from '../../../../runtime/exec/attachment.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { FakePeer } from '../../../support/fake-sockets.js';

const MARK = { stdout: 2, stderr: 3 } as const;

describe('an attached client', () => {
  const open = (options: Partial<AttachmentOptions> = {}) => {
    const clock = new FakeClock();
    const peer = new FakePeer();
    const sizes: object[] = [];
    const session = new Attachment({
      ...{ name: 'box', stdin: true, tty: false, holdsBack: false, mustStay: false },
      isRunning: () => true,
      resize: (size) => sizes.push(size),
      clock,
      ...options,
    });
    return { clock, peer, session, sizes, join: () => session.join(peer.connect(8)) };
  };
  const packet = (from: keyof typeof MARK, said: string): Buffer =>
    Buffer.concat([Buffer.from([MARK[from]]), Buffer.from(said)]);

  it('gets both streams apart and whole, whatever the packets', async () => {
    const packets = fc.array(fc.tuple(fc.constantFrom('stdout', 'stderr'), fc.string()));
    await fc.assert(
      fc.asyncProperty(packets, async (sent) => {
        const { peer, session, join } = open();
        join();
        for (const [from, said] of sent) peer.send(packet(from, said));
        peer.close();
        const wanted = (name: string): string =>
          sent
            .filter(([from]) => from === name)
            .map(([, said]) => Buffer.from(said).toString())
            .join('');
        const got = await Promise.all([text(session.stdout), text(session.stderr)]);
        assert.deepEqual(got, [wanted('stdout'), wanted('stderr')]);
      }),
      { numRuns: 50 },
    );
  });

  it('sends what was typed before the connection was there, in packets, and its end', async () => {
    const { peer, session, join } = open();
    session.stdin.write('0123456789');
    session.stdin.end('ab');
    join();
    await once(session.stdin, 'finish');
    assert.deepEqual(peer.received.map(String), ['01234567', '89', 'ab']);
    assert.equal(peer.ended, 1);
  });

  it('sends nothing into a stdin that is not open, and ends none', async () => {
    const { peer, session, join } = open({ stdin: false });
    join();
    session.stdin.end('lost');
    await once(session.stdin, 'finish');
    assert.deepEqual([peer.received, peer.ended], [[], 0]);
  });

  it('has one stream and a size with a terminal', async () => {
    const { peer, session, sizes, join } = open({ tty: true });
    await session.resize({ rows: 1, columns: 2 });
    join();
    await session.resize({ rows: 3, columns: 4 });
    peer.send(packet('stdout', 'a'));
    peer.close();
    assert.deepEqual([await text(session.stderr), await text(session.stdout)], ['', 'a']);
    assert.deepEqual(sizes, [{ rows: 3, columns: 4 }]);
  });

  it('leaves: its streams end, its connection is cut, unless stdin hung on it', async () => {
    for (const mustStay of [false, true]) {
      const { peer, session, join } = open({ mustStay });
      join();
      session.detach();
      assert.equal(await text(session.stdout), '');
      peer.send(packet('stdout', 'unheard'));
      await new Promise(setImmediate);
      assert.equal(peer.connections, mustStay ? 1 : 0);
    }
  });

  it('is cut off when it leaves 8 MiB unread, and told why, unless stdin hung on it', async () => {
    for (const mustStay of [false, true]) {
      const { peer, session, join } = open({ mustStay });
      join();
      const mebibyte = Buffer.alloc(1 << 20, MARK.stdout);
      const failure = once(session.stdout, 'error');
      for (let i = 0; i < 20; i++) peer.send(mebibyte);
      assert.match(String((await failure)[0]), /box: 8 MiB of its output were not read/);
      await new Promise(setImmediate);
      assert.equal(peer.connections, mustStay ? 1 : 0);
      peer.close();
      await new Promise(setImmediate);
      assert.equal(peer.connections, 0, 'all of it is read on');
    }
  });

  it('that may hold back is waited for, until the container has ended', async () => {
    let isRunning = true;
    const { clock, peer, session, join } = open({ holdsBack: true, isRunning: () => isRunning });
    join();
    const mebibyte = Buffer.alloc(1 << 20, MARK.stdout);
    for (let i = 0; i < 3; i++) peer.send(mebibyte);
    await clock.advance(10_000);
    assert.equal(session.stdout.readableLength, (1 << 20) - 1);
    isRunning = false;
    await clock.advance(1000);
    assert.equal(session.stdout.readableLength, 3 * ((1 << 20) - 1));
  });

  it('whose run never comes ends too', async () => {
    const { session } = open();
    session.detach();
    assert.equal(await text(session.stdout), '');
  });
});
