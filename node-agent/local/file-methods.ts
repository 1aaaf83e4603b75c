import { HatobaError } from '../../common/errors.js';
import type {
  ContainerCopyFromResponse,
  ContainerCopyToInput,
  ContainerCopyToStart,
} from '../../proto/gen/hatoba/v1/engine.js';
import { toBuffer } from '../rpc/bytes.js';
import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';

/** What reads and writes the files of containers; also of tasks, whose words are the cluster's. */
export function fileMethods({
  engine,
}: EngineMethodsModules): EngineMethods<
  'containerCopyFrom' | 'containerCopyTo' | 'containerExport' | 'containerDiff'
> {
  const { containers } = engine;
  const idOf = (reference: string): string => containers.find(reference).config.id;
  return {
    async *containerCopyFrom({ container, path, followLink }, { signal }) {
      const options = { followLink, signal };
      const { stat, tar } = await containers.copyFrom(idOf(container), path, options);
      const chunks = tar[Symbol.asyncIterator]();
      try {
        yield { output: { $case: 'stat', value: stat } } satisfies ContainerCopyFromResponse;
        for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) {
          yield { output: { $case: 'chunk', value: toBuffer(next.value) } };
        }
      } finally {
        // Whoever wants to know only what is there leaves after the first message.
        await chunks.return?.();
      }
    },
    async containerCopyTo(messages, { signal }) {
      const inputs = messages[Symbol.asyncIterator]();
      const { container, path, copyOwners } = await readStart(inputs);
      await containers.copyTo(idOf(container), path, chunksOf(inputs), { copyOwners, signal });
      return {};
    },
    async *containerExport({ container }, { signal }) {
      for await (const bytes of containers.export(idOf(container), signal)) {
        yield { data: toBuffer(bytes) };
      }
    },
    async containerDiff({ container }) {
      return { changes: await containers.diff(idOf(container)) };
    },
  };
}

async function readStart(
  inputs: AsyncIterator<ContainerCopyToInput>,
): Promise<ContainerCopyToStart> {
  const first = await inputs.next();
  if (first.done !== true && first.value.input?.$case === 'start') return first.value.input.value;
  throw new HatobaError('invalid-argument', 'the first message of a copy must be its start');
}

async function* chunksOf(inputs: AsyncIterator<ContainerCopyToInput>): AsyncGenerator<Uint8Array> {
  for (let next = await inputs.next(); next.done !== true; next = await inputs.next()) {
    const { input } = next.value;
    if (input?.$case !== 'chunk') {
      throw new HatobaError('invalid-argument', 'only chunks may follow the start of a copy');
    }
    yield input.value;
  }
}
