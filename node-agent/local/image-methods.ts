import { HatobaError } from '../../common/errors.js';
import type { ImageProgress } from '../../proto/gen/hatoba/v1/agent.js';
import type {
  Chunk,
  EngineImagePushRequest,
  ImageImportInput,
  ImageImportStart,
} from '../../proto/gen/hatoba/v1/engine.js';
import type { Image } from '../../proto/gen/hatoba/v1/types.js';
import { familiarName, parseImageReference } from '../../runtime/core/image-ref.js';
import type { ArchiveFormat } from '../../runtime/engine.js';
import { toBuffer } from '../rpc/bytes.js';
import { transferMessages } from '../rpc/image-progress.js';
import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';

/** Whose image it is goes without saying: this node's. */
const HERE = { nodeId: '', hostname: '' };
const FORMATS: readonly ArchiveFormat[] = ['docker-archive', 'oci'];

/** What brings, sends, shows and removes images. */
export function imageMethods(
  modules: EngineMethodsModules,
): EngineMethods<TransferMethod | ArchiveMethod | StoreMethod> {
  return { ...transferMethods(modules), ...archiveMethods(modules), ...storeMethods(modules) };
}

type TransferMethod = 'imagePull' | 'imagePush' | 'registryLogin';
type ArchiveMethod = 'imageDownload' | 'imageSave' | 'imageLoad' | 'imageImport';
type StoreMethod =
  'imageList' | 'imageInspect' | 'imageHistory' | 'imageTag' | 'imageRemove' | 'imagePrune';

function transferMethods(modules: EngineMethodsModules): EngineMethods<TransferMethod> {
  const { engine, clock } = modules;
  const { images } = engine;
  return {
    imagePull: ({ reference, auth, platform }, { signal }) =>
      transferMessages(HERE, clock, (onProgress) =>
        images.pull(reference, {
          signal,
          onProgress,
          refresh: true,
          ...(auth === undefined ? {} : { auth }),
          ...(platform === '' ? {} : { platform }),
        }),
      ),
    imagePush: (request, { signal }) => push(modules, request, signal),
    registryLogin({ server, auth }, { signal }) {
      if (auth !== undefined) return images.login(server, auth, signal);
      throw new HatobaError('invalid-argument', 'a login needs credentials');
    },
  };
}

/** The image of the last message has what others pull it by as its first digest. */
function push(
  { engine, clock }: EngineMethodsModules,
  { reference, auth }: EngineImagePushRequest,
  signal: AbortSignal,
): AsyncGenerator<ImageProgress, void, undefined> {
  const { images } = engine;
  return transferMessages(HERE, clock, async (onProgress): Promise<Image> => {
    const { digest } = await images.push(reference, {
      signal,
      onProgress,
      ...(auth === undefined ? {} : { auth }),
    });
    const image = await images.find(reference);
    if (image === undefined) {
      throw new HatobaError('conflict', `image "${reference}" was removed while it was pushed`);
    }
    const pushed = `${familiarName(parseImageReference(reference))}@${digest}`;
    const others = image.repoDigests.filter((other) => other !== pushed);
    return { ...image, repoDigests: [pushed, ...others] };
  });
}

function archiveMethods({ engine }: EngineMethodsModules): EngineMethods<ArchiveMethod> {
  const { images } = engine;
  return {
    imageDownload: ({ reference, auth, platform, format }, { signal }) =>
      toChunks(
        images.download(reference, {
          signal,
          format: formatOf(format),
          ...(auth === undefined ? {} : { auth }),
          ...(platform === '' ? {} : { platform }),
        }),
      ),
    imageSave: ({ images: references, format }, { signal }) =>
      toChunks(images.save(references, { format: formatOf(format), signal })),
    imageLoad: async (messages, { signal }) => ({
      images: await images.load(bytesOf(messages), { signal }),
    }),
    async imageImport(messages, { signal }) {
      const inputs = messages[Symbol.asyncIterator]();
      const { reference, message, changes, platform } = await readStart(inputs);
      return images.import(chunksOf(inputs), {
        ...(reference === '' ? {} : { reference }),
        message,
        changes,
        ...(platform === '' ? {} : { platform }),
        signal,
      });
    },
  };
}

function storeMethods({ engine }: EngineMethodsModules): EngineMethods<StoreMethod> {
  const { images } = engine;
  return {
    // `all` is Docker's word for intermediate images, of which there are none here
    imageList: async () => ({ images: await images.list() }),
    imageInspect: ({ image }) => images.inspect(image),
    imageHistory: async ({ image }) => ({ entries: await images.history(image) }),
    async imageTag({ source, target }) {
      await images.tag(source, target);
      return {};
    },
    async imageRemove({ images: references, force }) {
      const untagged: string[] = [];
      const deleted: string[] = [];
      for (const reference of references) {
        const removed = await images.remove(reference, { force });
        untagged.push(...removed.untagged);
        deleted.push(...removed.deleted);
      }
      return { untagged, deleted };
    },
    imagePrune: ({ all, olderThanMs }) => images.prune({ all, olderThanMs }),
  };
}

function formatOf(text: string): ArchiveFormat {
  const format = FORMATS.find((f) => f === (text === '' ? 'docker-archive' : text));
  if (format !== undefined) return format;
  throw new HatobaError(
    'invalid-argument',
    `"${text}" is no format of an archive: use ${FORMATS.join(' or ')}`,
  );
}

/** At the pace of its reader. */
async function* toChunks(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Chunk, void, undefined> {
  for await (const chunk of bytes) yield { data: toBuffer(chunk) };
}

async function* bytesOf(
  messages: AsyncIterable<Chunk>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const { data } of messages) yield data;
}

async function readStart(inputs: AsyncIterator<ImageImportInput>): Promise<ImageImportStart> {
  const first = await inputs.next();
  const input = first.done === true ? undefined : first.value.input;
  if (input?.$case === 'start') return input.value;
  throw new HatobaError('invalid-argument', 'the first message of an import must be its start');
}

async function* chunksOf(
  inputs: AsyncIterator<ImageImportInput>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for (let next = await inputs.next(); next.done !== true; next = await inputs.next()) {
    if (next.value.input?.$case === 'chunk') yield next.value.input.value;
  }
}
