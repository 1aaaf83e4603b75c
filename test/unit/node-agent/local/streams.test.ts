import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { HatobaError } from '../../../../common/errors.js';
import type {
  ContainerAttachInput,
  ContainerAttachOutput,
} from '../../../../proto/gen/hatoba/v1/engine.js';
import type {
  AttachOptions,
  ContainerEvent,
  Containers,
  ContainerState,
} from '../../../../runtime/engine.js';
import { attachStream } from '../../../../node-agent/local/streams.js';

type Input = ContainerAttachInput['input'];

describe('attaching over the socket', () => {
  /** A container named "box" whose streams the test plays. */
  function aBox() {
    const listeners = new Set<(event: ContainerEvent) => void>();
    const attached: AttachOptions[] = [];
    const sizes: object[] = [];
    const streams = [new PassThrough(), new PassThrough(), new PassThrough()] as const;
    const [stdin, stdout, stderr] = streams;
    let detached = 0;
    const containers: Pick<Containers, 'attach' | 'find' | 'onEvent'> = {
      find: (name) => {
        if (name === 'box') return { config: { id: 'id-1' } } as ContainerState;
        throw new HatobaError('not-found', `no container ${name}`);
      },
      onEvent: (listener) => {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      attach: (_id, options) => {
        attached.push(options);
        const resize = (size: object): Promise<void> => Promise.resolve(void sizes.push(size));
        const detach = (): void => {
          detached += 1;
          for (const stream of streams) stream.end();
        };
        return Promise.resolve({ stdin, stdout, stderr, resize, detach });
      },
    };
    const exit = (exitCode: number, id = 'id-1'): void => {
      for (const output of [stdout, stderr]) output.end();
      const state = { exitCode } as ContainerState;
      for (const listener of listeners) listener({ id, type: 'exited', state });
    };
    return {
      containers,
      listeners,
      attached,
      sizes,
      stdin,
      stdout,
      stderr,
      exit,
      detached: () => detached,
    };
  }

  async function* say(...inputs: readonly Input[]): AsyncGenerator<ContainerAttachInput> {
    for (const input of inputs) yield await Promise.resolve({ input });
    await new Promise(() => undefined); // the client stays
  }

  const start = (container = 'box'): Input => ({
    $case: 'start',
    value: { container, stdin: true, size: undefined, holdsBack: true, nextRun: false },
  });

  async function collect(
    stream: AsyncIterable<ContainerAttachOutput>,
    onFirst: () => void = () => undefined,
  ): Promise<string[]> {
    const seen: string[] = [];
    for await (const { output } of stream) {
      if (output !== undefined) seen.push(`${output.$case} ${output.value.toString()}`);
      if (output?.$case === 'attached') onFirst();
    }
    return seen;
  }

  it('says when it is attached, then all output, then the exit code', async () => {
    const box = aBox();
    const { signal } = new AbortController();
    const seen = await collect(attachStream(box.containers, say(start()), signal), () => {
      box.stdout.write('out');
      box.stderr.write('err');
      box.exit(1, 'another');
      box.exit(3);
    });
    assert.deepEqual(seen.toSorted(), ['attached true', 'exitCode 3', 'stderr err', 'stdout out']);
    assert.equal(seen.at(-1), 'exitCode 3');
    assert.deepEqual(box.attached, [{ stdin: true, holdsBack: true, nextRun: false }]);
    assert.deepEqual([box.listeners.size, box.detached()], [0, 1]);
  });

  it('passes input, its end and sizes on, and leaves after all of them', async () => {
    const box = aBox();
    const inputs = say(
      start(),
      { $case: 'stdin', value: Buffer.from('typed') },
      { $case: 'resize', value: { rows: 1, columns: 2 } },
      { $case: 'closeStdin', value: true },
      { $case: 'leave', value: true },
    );
    const { signal } = new AbortController();
    assert.deepEqual(await collect(attachStream(box.containers, inputs, signal)), [
      'attached true',
    ]);
    assert.equal(String(box.stdin.read()), 'typed');
    assert.deepEqual(box.sizes, [{ rows: 1, columns: 2 }]);
  });

  it('detaches when its client goes', async () => {
    const box = aBox();
    const client = new AbortController();
    const stream = attachStream(box.containers, say(start()), client.signal);
    assert.deepEqual(await collect(stream, () => client.abort()), ['attached true']);
    assert.ok(box.detached() > 0);
    assert.equal(box.listeners.size, 0);
  });

  it('refuses no start and an unknown container', async () => {
    const { containers } = aBox();
    const { signal } = new AbortController();
    const noStart = say({ $case: 'closeStdin', value: true });
    await assert.rejects(collect(attachStream(containers, noStart, signal)), {
      kind: 'invalid-argument',
    });
    await assert.rejects(collect(attachStream(containers, say(start('nobody')), signal)), {
      kind: 'not-found',
    });
  });
});
