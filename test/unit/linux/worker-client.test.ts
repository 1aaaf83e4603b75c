import assert from 'node:assert/strict';
import type { HatobaError } from '../../../common/errors.js';
import type { WorkerEntry } from '../../../common/worker-entry.js';
import { WorkerClient } from '../../../linux/worker-client.js';

/** A worker that speaks the protocol, with the given reaction to each request. */
function script(onRequest: string): WorkerEntry {
  const code = `
    const { parentPort } = require('node:worker_threads');
    parentPort.on('message', (request) => { ${onRequest} });
    parentPort.postMessage({ type: 'ready' });
  `;
  return [code, { eval: true, execArgv: [] }];
}

describe('WorkerClient', () => {
  const start = async (entry: WorkerEntry) => {
    const failures: HatobaError[] = [];
    const exits: [number, number][] = [];
    const client = await WorkerClient.start(
      {
        onExit: (pid, exitCode) => exits.push([pid, exitCode]),
        onFailure: (error) => failures.push(error),
      },
      entry,
    );
    return { client, failures, exits };
  };

  it('gives each answer to its call, in whatever order they come', async () => {
    const { client, failures } = await start(
      script(`
        globalThis.held ??= [];
        const post = (r) => parentPort.postMessage({ type: 'result', id: r.id, value: r.args });
        if (request.call === 'close') post(request);
        else if (held.push(request) === 2) held.reverse().forEach(post);
      `),
    );
    const answers = await Promise.all([
      client.call('mounts.list', '/a'),
      client.call('mounts.list', '/b'),
    ]);
    assert.deepEqual(answers, [['/a'], ['/b']]);
    await client.close();
    assert.deepEqual(failures, []);
  });

  it('brings kind, message and detail of an error over', async () => {
    const { client } = await start(
      script(`
        const error = { kind: 'not-found', message: 'no x', detail: { errno: 'ENOENT' } };
        const message = request.call === 'close' ? { type: 'result' } : { type: 'error', error };
        parentPort.postMessage({ ...message, id: request.id });
      `),
    );
    await assert.rejects(client.call('mounts.unmount', '/x'), {
      name: 'HatobaError',
      kind: 'not-found',
      message: 'no x',
      detail: { errno: 'ENOENT' },
    });
    await client.close();
  });

  for (const { name, code, reason } of [
    { name: 'throws', code: `throw new Error('out of order')`, reason: /out of order/ },
    { name: 'ends', code: 'process.exit(3)', reason: /ended with code 3/ },
  ]) {
    it(`rejects all that waits, once, when the worker ${name}`, async () => {
      const { client, failures } = await start(script(code));
      const waiting = [client.call('mounts.list', '/a'), client.call('mounts.unmount', '/b')];
      const results = await Promise.allSettled(waiting);
      for (const [i, call] of ['mounts.list', 'mounts.unmount'].entries()) {
        const result = results[i];
        assert.ok(result?.status === 'rejected');
        const error = result.reason as HatobaError;
        assert.equal(error.kind, 'unavailable');
        assert.ok(error.message.startsWith(`${call}: `), error.message);
        assert.match(error.message, reason);
      }
      await assert.rejects(client.call('mounts.list', '/c'), { kind: 'unavailable' });
      assert.equal(failures.length, 1);
      await client.close();
    });
  }

  it('says why a worker does not start', async () => {
    const entry: WorkerEntry = [`throw new Error('no libc')`, { eval: true, execArgv: [] }];
    await assert.rejects(start(entry), { kind: 'unavailable', message: /no libc/ });
  });

  it('passes on the exits of processes', async () => {
    const { client, exits } = await start(
      script(`
        parentPort.postMessage({ type: 'exit', pid: 7, exitCode: 137 });
        parentPort.postMessage({ type: 'result', id: request.id });
      `),
    );
    await client.call('spawner.reap');
    assert.deepEqual(exits, [[7, 137]]);
    await client.close();
  });
});
