import assert from 'node:assert/strict';
import { PassThrough, Writable } from 'node:stream';
import { whenLeft, type ProcessInput } from '../../../../node-agent/rpc/process-stream.js';

describe('what a client sends to a process', () => {
  async function* say(...inputs: readonly ProcessInput[]) {
    for (const input of inputs) yield await Promise.resolve({ input });
  }
  const stdinOf = (size: number): ProcessInput => ({ $case: 'stdin', value: Buffer.alloc(size) });

  /** Feeds a process with this input. @returns whether the client's stream failed, at its end */
  async function feed(stdin: Writable, inputs: AsyncGenerator<{ input: ProcessInput }>) {
    let failures = 0;
    const streams = { stdin, stdout: new PassThrough(), stderr: new PassThrough() };
    const process = { ...streams, resize: () => Promise.resolve() };
    await new Promise<void>((resolve) => {
      const onFailure = (): void => {
        failures += 1;
        resolve();
      };
      stdin.once('close', () => setImmediate(resolve));
      void whenLeft(inputs, process, { onFailure });
    });
    return failures;
  }

  it('waits for a slow reader without gathering listeners', async () => {
    let most = 0;
    const slow = new Writable({
      highWaterMark: 1,
      write(_chunk, _encoding, done) {
        most = Math.max(most, this.listenerCount('close'), this.listenerCount('error'));
        setImmediate(done);
      },
    });
    assert.equal(await feed(slow, say(...Array.from({ length: 50 }, () => stdinOf(10)))), 0);
    assert.ok(most < 5, `${most} listeners`);
  });

  it('is dropped when the process has closed its input, which is no failure of the client', async () => {
    const closed = new Writable({
      highWaterMark: 1,
      write(_chunk, _encoding, done) {
        setImmediate(() => done(Object.assign(new Error('EPIPE'), { code: 'EPIPE' })));
      },
    });
    assert.equal(await feed(closed, say(stdinOf(10), stdinOf(10), stdinOf(10))), 0);
  });
});
