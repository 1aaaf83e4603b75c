import koffi from 'koffi';
import { HatobaError, type ErrorKind } from '../common/errors.js';
import type { NetnsThread } from './netns.js';
import { NetnsCache } from './netns-cache.js';
import { NftCounters } from './nft-counters.js';
import { NftGeneration } from './nft-generation.js';
import type { CallHandlers } from './protocol.js';

const MAX_OPEN_NAMESPACES = 8;
const NFT_CTX_DEFAULT = 0;
const NFT_CTX_OUTPUT_JSON = 1 << 4;
const NFT_CTX_OUTPUT_TERSE = 1 << 11;
const MAX_ERROR_CHARACTERS = 2000;

type Context = bigint;

interface Library {
  open(flags: number): Context | null;
  close(context: Context): void;
  run(context: Context, script: string): number;
  setOutput(context: Context, flags: number): void;
  output(context: Context): string | null;
  errors(context: Context): string | null;
  bufferOutput(context: Context): number;
  bufferErrors(context: Context): number;
}

/** The Nftables port in the worker thread: one libnftables context per namespace, kept open. */
export class LinuxNftables {
  readonly #thread: NetnsThread;
  readonly #contexts: NetnsCache<Context>;
  readonly #generations: NetnsCache<NftGeneration>;
  readonly #counters: NetnsCache<NftCounters>;
  #library: Library | undefined;

  constructor(thread: NetnsThread) {
    this.#thread = thread;
    this.#contexts = new NetnsCache(thread, MAX_OPEN_NAMESPACES, {
      open: () => this.#openContext(),
      close: (context) => {
        this.#load().close(context);
      },
    });
    this.#generations = new NetnsCache(thread, MAX_OPEN_NAMESPACES, {
      open: () => new NftGeneration(),
      close: (generation) => {
        generation.close();
      },
    });
    this.#counters = new NetnsCache(thread, MAX_OPEN_NAMESPACES, {
      open: () => new NftCounters(),
      close: (counters) => {
        counters.close();
      },
    });
  }

  readonly handlers: CallHandlers<
    'nftables.run' | 'nftables.query' | 'nftables.countedPackets' | 'nftables.isChangedByOthers'
  > = {
    'nftables.run': (script, netns) => {
      this.#generations.get(netns).around(() => this.#run(script, 0, netns));
    },
    'nftables.countedPackets': (counter, netns) => this.#counters.get(netns).packets(counter),
    'nftables.isChangedByOthers': (netns) => this.#generations.get(netns).takeForeign(),
    'nftables.query': (command, netns, detail = 'full') => {
      const flags = NFT_CTX_OUTPUT_JSON | (detail === 'terse' ? NFT_CTX_OUTPUT_TERSE : 0);
      const text = this.#run(command, flags, netns);
      if (text === '') return [];
      const { nftables } = JSON.parse(text) as { nftables?: unknown[] };
      return nftables ?? [];
    },
  };

  /** Closes what is open in a namespace about to end. */
  drop(path: string): void {
    this.#contexts.drop(path);
    this.#generations.drop(path);
    this.#counters.drop(path);
  }

  close(): void {
    this.#contexts.close();
    this.#generations.close();
    this.#counters.close();
  }

  #run(script: string, outputFlags: number, netns?: string): string {
    const library = this.#load();
    const context = this.#contexts.get(netns);
    library.setOutput(context, outputFlags);
    // The context's socket is in the namespace; names of links are looked up in the thread's.
    const failed = this.#thread.inside(netns, () => library.run(context, script)) !== 0;
    const [output, errors] = [library.output(context) ?? '', library.errors(context) ?? ''];
    if (failed) throw nftError(script, errors, netns);
    return output;
  }

  #openContext(): Context {
    const library = this.#load();
    const context = library.open(NFT_CTX_DEFAULT);
    if (context === null) {
      throw new HatobaError('resource-exhausted', 'opening a libnftables context: out of memory');
    }
    library.bufferOutput(context);
    library.bufferErrors(context);
    return context;
  }

  #load(): Library {
    return (this.#library ??= loadLibrary());
  }
}

/** @throws {HatobaError} failed-precondition, where libnftables is not installed */
function loadLibrary(): Library {
  try {
    const library = koffi.load('libnftables.so.1');
    return {
      open: library.func('void *nft_ctx_new(uint32_t flags)'),
      close: library.func('void nft_ctx_free(void *context)'),
      run: library.func('int nft_run_cmd_from_buffer(void *context, const char *script)'),
      setOutput: library.func('void nft_ctx_output_set_flags(void *context, unsigned int flags)'),
      output: library.func('const char *nft_ctx_get_output_buffer(void *context)'),
      errors: library.func('const char *nft_ctx_get_error_buffer(void *context)'),
      bufferOutput: library.func('int nft_ctx_buffer_output(void *context)'),
      bufferErrors: library.func('int nft_ctx_buffer_error(void *context)'),
    };
  } catch (cause) {
    throw new HatobaError(
      'failed-precondition',
      'loading libnftables.so.1: it is missing; install the package nftables',
      { cause },
    );
  }
}

/**
 * nft's words: "/dev/stdin:1:1-20: Error: Could not process rule: No such file or directory" and
 * the line with a mark under the place. A whole script can be long, so only its start is quoted.
 */
function nftError(script: string, errors: string, netns: string | undefined): HatobaError {
  const where = netns === undefined ? '' : ` in ${netns}`;
  const first = script.trim().split('\n', 1)[0] ?? '';
  const quoted = first.length > 80 ? `${first.slice(0, 80)}…` : first;
  const reason = errors.trim() === '' ? 'it gave no reason' : errors.trim();
  const kinds: readonly (readonly [string, ErrorKind, string])[] = [
    ['No such file or directory', 'not-found', 'ENOENT'],
    ['File exists', 'already-exists', 'EEXIST'],
    ['Operation not permitted', 'permission-denied', 'EPERM'],
    ['Device or resource busy', 'failed-precondition', 'EBUSY'],
    ['Operation not supported', 'unimplemented', 'EOPNOTSUPP'],
  ];
  const [, kind, errno] = kinds.find(([words]) => reason.includes(words)) ?? [
    '',
    'invalid-argument' as const,
    'EINVAL',
  ];
  return new HatobaError(
    kind,
    `nft script "${quoted}"${where}: ${reason.slice(0, MAX_ERROR_CHARACTERS)}`,
    { detail: { errno } },
  );
}
