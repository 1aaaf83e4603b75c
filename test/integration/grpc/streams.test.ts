import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Metadata } from '@grpc/grpc-js';
import { HatobaError } from '../../../common/errors.js';
import { silentLogger, type Logger } from '../../../common/logger.js';
import {
  AgentClient,
  AgentService,
  ExecStart,
  LogMessage,
  LogOptions,
  type ExecOutput,
  type ImageLoadInput,
  type ImageLoadResponse,
} from '../../../proto/gen/hatoba/v1/agent.js';
import {
  localTarget,
  openClient,
  readStream,
  sendAll,
  sendStream,
  unary,
} from '../../../proto/wire/client.js';
import { listenUnix, type RpcServer } from '../../../proto/wire/server.js';
import { bindService, type Implementation } from '../../../proto/wire/service.js';
import { eventually } from '../../support/eventually.js';

const LOGS = { taskId: 't', options: LogOptions.fromPartial({}) };
const CHUNK_BYTES = 256 * 1024;

describe('calls and streams', () => {
  let folder: string;
  let server: RpcServer;
  let client: AgentClient;
  let produced = 0;
  let stopped: string[] = [];
  let loadPace: () => Promise<void> = () => Promise.resolve();
  const errors: unknown[] = [];
  const logger: Logger = { ...silentLogger, error: (_m, _f, error) => errors.push(error) };

  const agent: Implementation<typeof AgentService> = {
    async *taskLogs(_, { signal }) {
      produced = 0;
      try {
        for (;;) {
          await Promise.resolve(signal.throwIfAborted());
          yield LogMessage.fromPartial({ timestampMs: ++produced, line: Buffer.alloc(64 * 1024) });
        }
      } finally {
        stopped.push((signal.reason as Error | undefined)?.message ?? 'not aborted');
      }
    },
    async *taskExec(input) {
      for await (const { input: part } of input) {
        if (part?.$case === 'stdin') yield { output: { $case: 'stdout', value: part.value } };
      }
      yield { output: { $case: 'exitCode', value: 0 } };
    },
    async imageLoad(input) {
      let bytes = 0;
      for await (const { input: part } of input) {
        await loadPace();
        if (part?.$case === 'chunk') bytes += part.value.length;
      }
      return { results: [{ nodeId: String(bytes), hostname: '', images: [], err: '' }] };
    },
    async *imagePull() {
      await Promise.resolve();
      throw new HatobaError('not-found', 'no image of that name', { detail: { tried: ['a'] } });
    },
    async imageList(_, { signal }) {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      throw new Error('a bug of ours');
    },
  };
  const access = {
    taskLogs: 'operator',
    taskExec: 'operator',
    imageLoad: 'operator',
    imagePull: 'operator',
    imageList: 'operator',
  } as const;

  before(async () => {
    folder = await mkdtemp('/tmp/ht-streams-');
  });
  beforeEach(async () => {
    stopped = [];
    errors.length = 0;
    loadPace = () => Promise.resolve();
    const path = join(folder, 'a.sock');
    const services = [bindService(AgentService, agent, access)];
    server = await listenUnix({ path, services, logger });
    client = openClient(AgentClient, localTarget(path));
  });
  afterEach(async () => {
    client.close();
    await server[Symbol.asyncDispose]();
  });
  after(() => rm(folder, { recursive: true }));

  it('checks the sizes in each message of a stream', async () => {
    const command = ['true', 'a\0b'];
    const call = client.taskExec();
    call.write({ input: { $case: 'start', value: ExecStart.fromPartial({ command }) } });
    await assert.rejects(readStream(call).next(), {
      kind: 'invalid-argument',
      message: /command\[1\]: a text with a NUL character/,
    });
  });

  it('a reader that leaves ends the producer', async () => {
    let seen = 0;
    for await (const { timestampMs } of readStream(client.taskLogs(LOGS))) {
      assert.equal(timestampMs, ++seen);
      if (seen === 3) break;
    }
    await eventually(() => assert.deepEqual(stopped, ['the caller went away']));
  });

  it('a reader that aborts gets its own reason', async () => {
    const end = new AbortController();
    const reading = readStream(client.taskLogs(LOGS), end.signal);
    await reading.next();
    end.abort(new Error('enough'));
    await assert.rejects(async () => {
      for await (const _ of reading);
    }, /^Error: enough$/);
    await eventually(() => assert.equal(stopped.length, 1));
  });

  it('a slow reader slows the producer down', async () => {
    const reading = readStream(client.taskLogs(LOGS));
    await reading.next();
    // Once nothing moves any more, far fewer messages than could be made have been.
    let last = -1;
    await eventually(
      () => {
        const settled = produced === last;
        last = produced;
        assert.ok(settled);
      },
      { everyMs: 100 },
    );
    assert.ok(
      produced < 200,
      `${produced} messages of 64 KiB wait for a reader that does not read`,
    );
    await reading.return();
  });

  it('an error keeps its kind, message and detail', async () => {
    const pulling = readStream(
      client.imagePull({ reference: 'x', nodes: [], auth: undefined, platform: '' }),
    );
    await assert.rejects(pulling.next(), (error) => {
      assert.ok(error instanceof HatobaError);
      assert.deepEqual(
        [error.kind, error.message, error.detail],
        ['not-found', 'no image of that name', { tried: ['a'] }],
      );
      return true;
    });
    assert.deepEqual(errors, [], 'what the caller did wrong is not logged');
  });

  it('an error that comes before anybody reads waits for the reader', async () => {
    const pulling = readStream(
      client.imagePull({ reference: 'x', nodes: [], auth: undefined, platform: '' }),
    );
    await unary(client.imageList.bind(client), {}, { timeoutMs: 100 }).catch(() => undefined);
    await assert.rejects(pulling.next(), { kind: 'not-found' });
  });

  it('a deadline ends both sides', async () => {
    await assert.rejects(unary(client.imageList.bind(client), {}, { timeoutMs: 50 }), {
      kind: 'deadline',
    });
    assert.deepEqual(errors, [], 'what fails after the end of a call is not logged');
  });

  it('a patient client has no deadline', async () => {
    const target = localTarget(join(folder, 'a.sock'));
    const patient = openClient(AgentClient, target, { isPatient: true });
    const end = new AbortController();
    const settings = { timeoutMs: 1, signal: end.signal };
    const listing = unary(patient.imageList.bind(patient), {}, settings);
    // By then the one above is long over.
    await assert.rejects(unary(client.imageList.bind(client), {}, { timeoutMs: 50 }));
    end.abort(new Error('enough'));
    await assert.rejects(listing, /^Error: enough$/);
    patient.close();
  });

  it('an abort ends both sides', async () => {
    const end = new AbortController();
    const listing = unary(client.imageList.bind(client), {}, { signal: end.signal });
    end.abort(new Error('stop'));
    await assert.rejects(listing, /^Error: stop$/);
    await assert.rejects(unary(client.imageList.bind(client), {}, { signal: end.signal }), /stop/);
  });

  it('both ways at once keep their order', async () => {
    const call = client.taskExec(new Metadata());
    const words = ['a', 'b', 'c'];
    const sending = sendAll(
      call,
      words.map((w) => ({ input: { $case: 'stdin' as const, value: Buffer.from(w) } })),
    );
    const outputs: ExecOutput[] = [];
    for await (const output of readStream(call)) outputs.push(output);
    await sending;
    assert.deepEqual(
      outputs.map(({ output }) => String(output?.value)),
      [...words, '0'],
    );
  });

  describe('a stream to the server', () => {
    let sent = 0;
    async function* chunks(count: number): AsyncGenerator<ImageLoadInput> {
      for (sent = 0; sent < count; sent++) {
        await Promise.resolve();
        yield { input: { $case: 'chunk', value: Buffer.alloc(CHUNK_BYTES) } };
      }
    }
    function load(source: AsyncIterable<ImageLoadInput>): Promise<ImageLoadResponse> {
      return sendStream(client.imageLoad.bind(client), source);
    }

    it('arrives whole', async () => {
      const { results } = await load(chunks(100));
      assert.equal(results[0]?.nodeId, String(100 * CHUNK_BYTES));
    });

    it('goes no faster than the server reads', async () => {
      let release: () => void = () => undefined;
      const gate = new Promise<void>((resolve) => {
        release = resolve;
      });
      loadPace = () => gate;
      const loading = load(chunks(400));
      let last = -1;
      await eventually(
        () => {
          const settled = sent === last;
          last = sent;
          assert.ok(settled);
        },
        { everyMs: 100 },
      );
      assert.ok(sent < 100, `${sent} chunks of 256 KiB were sent to a server that does not read`);
      release();
      assert.equal((await loading).results[0]?.nodeId, String(400 * CHUNK_BYTES));
    });

    it('that breaks off fails with its own error', async () => {
      async function* broken(): AsyncGenerator<ImageLoadInput> {
        yield* chunks(2);
        throw new Error('the file is gone');
      }
      await assert.rejects(load(broken()), /the file is gone/);
    });
  });
});
