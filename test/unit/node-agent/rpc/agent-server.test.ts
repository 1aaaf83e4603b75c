import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Writable } from 'node:stream';
import { systemClock } from '../../../../common/adapters/system-clock.js';
import { HatobaError } from '../../../../common/errors.js';
import { silentLogger } from '../../../../common/logger.js';
import { AgentServer } from '../../../../node-agent/rpc/agent-server.js';
import {
  AgentClient,
  ExecStart,
  LogStream,
  type ExecInput,
  type ExecOutput,
} from '../../../../proto/gen/hatoba/v1/agent.js';
import { Image } from '../../../../proto/gen/hatoba/v1/types.js';
import {
  localTarget,
  openClient,
  readStream,
  sendAll,
  sendStream,
  unary,
} from '../../../../proto/wire/client.js';
import { listenUnix, type RpcServer } from '../../../../proto/wire/server.js';
import type {
  Containers,
  ContainerState,
  ExecOptions,
  ExecSession,
  Images,
  LogLine,
} from '../../../../runtime/engine.js';
import { eventually } from '../../../support/eventually.js';
import { assignedTask } from '../tasks.js';

class FakeExec implements ExecSession {
  readonly stdin: Writable;
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  readonly exitCode: Promise<number>;
  readonly sizes: unknown[] = [];
  input = '';
  isInputClosed = false;
  isKilled = false;
  #exit: (code: number) => void = () => undefined;

  constructor() {
    this.exitCode = new Promise((resolve) => (this.#exit = resolve));
    this.stdin = new Writable({
      highWaterMark: 8,
      write: (chunk: Buffer, _encoding, done) => {
        this.input += chunk.toString();
        setImmediate(done);
      },
      final: (done) => {
        this.isInputClosed = true;
        done();
      },
    });
  }
  resize(size: unknown): Promise<void> {
    this.sizes.push(size);
    return Promise.resolve();
  }
  end(code: number): void {
    this.stdout.end();
    this.stderr.end();
    this.#exit(code);
  }
  kill(): Promise<void> {
    this.isKilled = true;
    this.end(137);
    return Promise.resolve();
  }
}

describe('AgentServer', () => {
  let folder: string;
  let server: RpcServer;
  let client: AgentClient;
  let lines: LogLine[];
  let logQuery: unknown;
  let producedLines: number;
  let exec: FakeExec;
  let execOptions: ExecOptions | undefined;
  let loaded: Buffer;
  let pull: Images['pull'];
  const image = Image.fromPartial({ id: 'sha256:1', repoTags: ['web:1'], sizeBytes: 10 });

  beforeEach(async () => {
    lines = [];
    producedLines = 0;
    exec = new FakeExec();
    execOptions = undefined;
    loaded = Buffer.alloc(0);
    const images: Pick<Images, 'load' | 'pull' | 'list'> = {
      list: () => Promise.resolve([image]),
      load: async (archive) => {
        for await (const chunk of archive) loaded = Buffer.concat([loaded, chunk]);
        if (loaded.includes('bad')) throw new HatobaError('invalid-argument', 'entry x: no');
        return [image];
      },
      pull: (...args) => pull(...args),
    };
    const containers: Partial<Containers> = {
      get: (id) => (id === 't1' ? ({} as ContainerState) : undefined),
      exec: (id, options) => {
        if (id !== 't1') return Promise.reject(new HatobaError('not-found', `no container ${id}`));
        execOptions = options;
        return Promise.resolve(exec);
      },
      async *logs(_id, options): AsyncIterable<LogLine> {
        logQuery = options;
        for (const line of lines) {
          producedLines++;
          yield await Promise.resolve(line);
        }
      },
    };
    folder = await mkdtemp(join(tmpdir(), 'ht-agent-rpc-'));
    const agent = new AgentServer(
      { nodeId: 'n1', hostname: 'box' },
      {
        engine: { images, containers: containers as Containers },
        tasks: { task: (id) => (id === 't1' ? assignedTask() : undefined) },
        clock: systemClock,
      },
    );
    const path = join(folder, 'agent.sock');
    server = await listenUnix({ path, services: [agent.service()], logger: silentLogger });
    client = openClient(AgentClient, localTarget(path));
  });
  afterEach(async () => {
    client.close();
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true });
  });

  describe('logs', () => {
    it('tells each line with its origin', async () => {
      lines = [
        { timestampMs: 1, stream: 'stdout', line: Buffer.from('one') },
        { timestampMs: 2, stream: 'stderr', line: new Uint8Array([0xff]) },
      ];
      const seen = [];
      const options = { follow: true, sinceMs: 5, untilMs: 0, tail: 3 };
      for await (const m of readStream(client.taskLogs({ taskId: 't1', options }))) seen.push(m);
      assert.deepEqual(logQuery, { follow: true, sinceMs: 5, tail: 3 });
      const origin = {
        taskId: 't1',
        taskName: 'web.1',
        nodeId: 'n1',
        nodeHostname: 'box',
        err: '',
      };
      assert.deepEqual(seen, [
        { ...origin, timestampMs: 1, stream: LogStream.STDOUT, line: Buffer.from('one') },
        { ...origin, timestampMs: 2, stream: LogStream.STDERR, line: Buffer.from([0xff]) },
      ]);
    });

    it('names the task that is not here', async () => {
      const stream = readStream(client.taskLogs({ taskId: 'gone', options: undefined }));
      await assert.rejects(stream.next(), {
        kind: 'not-found',
        message: 'task gone has no container on node box',
      });
    });

    it('reads no faster than the caller does', async () => {
      const line = Buffer.alloc(10_000, 'x');
      lines = Array.from({ length: 2000 }, () => ({ timestampMs: 1, stream: 'stdout', line }));
      const stream = readStream(client.taskLogs({ taskId: 't1', options: undefined }));
      await stream.next();
      let before = -1;
      await eventually(() => {
        const isAtRest = before === producedLines;
        before = producedLines;
        assert.ok(isAtRest);
      });
      assert.ok(producedLines < 1000, `${producedLines} of 2000 lines were read ahead`);
      await stream.return();
    });
  });

  describe('exec', () => {
    const run = (inputs: ExecInput['input'][]): AsyncGenerator<ExecOutput, void, undefined> => {
      const call = client.taskExec();
      void sendAll(
        call,
        inputs.map((input) => ({ input })),
      );
      return readStream(call as never);
    };
    const start = (changes: Partial<ExecStart> = {}): ExecInput['input'] => ({
      $case: 'start',
      value: ExecStart.fromPartial({ taskId: 't1', command: ['cat'], stdin: true, ...changes }),
    });

    it('carries input, output, size and exit code', async () => {
      const size = { rows: 24, columns: 80 };
      const outputs = run([
        start({ tty: true, size }),
        { $case: 'stdin', value: Buffer.from('hello, this is more than eight bytes') },
        { $case: 'resize', value: { rows: 1, columns: 2 } },
        { $case: 'stdin', value: Buffer.from('!') },
        { $case: 'closeStdin', value: true },
      ]);
      const first = outputs.next();
      await eventually(() => assert.equal(exec.isInputClosed, true));
      assert.equal(exec.input, 'hello, this is more than eight bytes!');
      assert.deepEqual(exec.sizes, [{ rows: 1, columns: 2 }]);
      assert.equal(execOptions?.tty, true);
      assert.deepEqual(execOptions.size, size);
      exec.stdout.write('out');
      assert.deepEqual((await first).value?.output, { $case: 'stdout', value: Buffer.from('out') });
      exec.stderr.write('err');
      assert.deepEqual((await outputs.next()).value?.output, {
        $case: 'stderr',
        value: Buffer.from('err'),
      });
      exec.end(7);
      assert.deepEqual((await outputs.next()).value?.output, { $case: 'exitCode', value: 7 });
      assert.equal((await outputs.next()).done, true);
      assert.equal(exec.isKilled, false);
    });

    it('kills the command when the caller goes away', async () => {
      const outputs = run([start()]);
      const first = outputs.next();
      exec.stdout.write('out');
      await first;
      await outputs.return();
      await eventually(() => assert.equal(exec.isKilled, true));
    });

    for (const [name, inputs, kind] of [
      ['no start', [{ $case: 'stdin', value: Buffer.from('x') }], 'invalid-argument'],
      ['no command', [start({ command: [] })], 'invalid-argument'],
      ['an unknown task', [start({ taskId: 'gone' })], 'not-found'],
    ] as [string, ExecInput['input'][], string][]) {
      it(`refuses ${name}`, async () => {
        await assert.rejects(run(inputs).next(), { kind });
      });
    }
  });

  describe('images', () => {
    it('loads an archive', async () => {
      const chunks = [Buffer.alloc(70_000, 'a'), Buffer.alloc(5, 'b')];
      const messages = [
        { input: { $case: 'start' as const, value: { nodes: [] } } },
        ...chunks.map((value) => ({ input: { $case: 'chunk' as const, value } })),
      ];
      const answer = await sendStream(client.imageLoad.bind(client), messages);
      assert.deepEqual(answer.results, [
        { nodeId: 'n1', hostname: 'box', images: [image], err: '' },
      ]);
      assert.deepEqual(loaded, Buffer.concat(chunks));
    });

    it('says what is wrong with an archive', async () => {
      const messages = [{ input: { $case: 'chunk' as const, value: Buffer.from('bad') } }];
      await assert.rejects(sendStream(client.imageLoad.bind(client), messages), {
        kind: 'invalid-argument',
        message: 'entry x: no',
      });
    });

    it('tells the progress of a pull, of each layer the newest', async () => {
      pull = async (_reference, options) => {
        for (let i = 1; i <= 1000; i++) {
          options?.onProgress?.({
            layer: 'sha256:a',
            status: 'downloading',
            currentBytes: i,
            totalBytes: 1000,
          });
        }
        await new Promise((resolve) => setImmediate(resolve));
        options?.onProgress?.({
          layer: 'sha256:a',
          status: 'done',
          currentBytes: 1000,
          totalBytes: 1000,
        });
        return image;
      };
      const seen: string[] = [];
      for await (const p of readStream(
        client.imagePull({ reference: 'web:1', nodes: [], auth: undefined, platform: '' }),
      )) {
        seen.push(`${p.layer} ${p.status} ${p.currentBytes} ${p.image?.id ?? '-'}`);
      }
      assert.deepEqual(seen, [
        'sha256:a downloading 1000 -',
        'sha256:a done 1000 -',
        ' done 10 sha256:1',
      ]);
    });

    it('pulls for another platform when told to', async () => {
      const asked: unknown[] = [];
      pull = (_reference, options) => {
        asked.push(options?.platform);
        return Promise.resolve(image);
      };
      for (const platform of ['', 'linux/arm64']) {
        const request = { reference: 'web:1', nodes: [], auth: undefined, platform };
        for await (const p of readStream(client.imagePull(request))) assert.equal(p.err, '');
      }
      assert.deepEqual(asked, [undefined, 'linux/arm64']);
    });

    it("passes on the registry's answer, and ends a pull nobody waits for", async () => {
      pull = () =>
        Promise.reject(new HatobaError('not-found', 'web:9: registry: manifest unknown'));
      const stream = readStream(
        client.imagePull({ reference: 'web:9', nodes: [], auth: undefined, platform: '' }),
      );
      await assert.rejects(stream.next(), { kind: 'not-found', message: /manifest unknown/ });
      let signal: AbortSignal | undefined;
      pull = (_reference, options) => {
        signal = options?.signal;
        return new Promise((_, reject) => {
          signal?.addEventListener('abort', () => reject(signal?.reason as Error), { once: true });
        });
      };
      const leave = new AbortController();
      const call = client.imagePull({
        reference: 'web:9',
        nodes: [],
        auth: undefined,
        platform: '',
      });
      const next = readStream(call, leave.signal).next();
      await eventually(() => assert.ok(signal));
      leave.abort();
      await assert.rejects(next);
      await eventually(() => assert.equal(signal?.aborted, true));
    });

    it('lists images', async () => {
      const answer = await unary(client.imageList.bind(client), {});
      assert.deepEqual(answer.nodes, [{ nodeId: 'n1', hostname: 'box', images: [image], err: '' }]);
    });
  });
});
