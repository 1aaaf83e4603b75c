import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { eventually } from '../../support/eventually.js';
import { Load } from '../../support/load.js';
import { requiresCommand } from '../../support/requires.js';

const SERVER = fileURLToPath(new URL('../../support/answer-server.pl', import.meta.url));
const WORKERS = { connectionWorkers: 1, keepAliveWorkers: 1, datagramWorkers: 1, socketWorkers: 1 };

/** What proves that a network loses nothing must itself miss nothing. */
describe('the load generator', function () {
  let server: ChildProcess;
  let target = '';

  before(async function () {
    requiresCommand(this, 'perl');
    const port = await freePort();
    target = `127.0.0.1:${port}`;
    const env = { ...process.env, NAME: 'one' };
    server = spawn('perl', [SERVER, 'serve', String(port)], { env, stdio: 'inherit' });
    const check = ['-e', 'exec "perl", @ARGV', SERVER, 'check', String(port)];
    await eventually(async () => {
      const [code] = (await once(spawn('perl', check, { stdio: 'ignore' }), 'exit')) as [number];
      assert.equal(code, 0);
    });
  });
  after(() => server.kill('SIGKILL'));

  it('counts every request, by who answered and whom it saw', async () => {
    const options = { targets: [target], ...WORKERS, checks: 'address and port' as const };
    const report = await Load.run('', { ...options, pauseMs: 1, requests: 200 });
    assert.deepEqual(report.failures, []);
    assert.ok(report.requests >= 200);
    assert.deepEqual(report.answers, { one: report.requests });
    assert.deepEqual(report.balanced, { one: report.connections });
    assert.deepEqual(report.seenFrom, { '127.0.0.1': report.connections });
  });

  it('misses no failure of a server that ends at once', async () => {
    await using load = await Load.start('', {
      ...{ targets: [target], ...WORKERS },
      ...{ requests: 800, isQuiet: true },
    });
    server.kill('SIGTERM');
    const { failures, requests, answers } = await load.finished();
    assert.equal(failures.length + (answers['one'] ?? 0), requests);
    const kinds = new Set(failures.map((f) => f.kind));
    assert.deepEqual([...kinds].sort(), ['connection', 'datagram', 'keep-alive', 'socket']);
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
