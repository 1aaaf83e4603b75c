import { Etcd3, EtcdLeaseInvalidError, type IOptions } from 'etcd3';
import type { Clock } from '../../common/clock.js';
import { HatobaError, wrapError } from '../../common/errors.js';
import type { Random } from '../../common/random.js';
import { fromEtcdError } from './etcd-errors.js';
import { EtcdWatch } from './etcd-watch.js';
import type { Entry, Guard, Lease, Store, Transaction, Watch, WatchHandler } from './store.js';
import { conflictOf, validateTransaction } from './transaction.js';

export interface EtcdStoreOptions {
  /** "https://127.0.0.1:4379" or "127.0.0.1:4379"; several members of one cluster. */
  endpoints: readonly string[];
  /** PEM. Absent: plaintext, or the CAs that Node trusts for https endpoints. */
  tls?: EtcdTls;
  /** For each call but watches. */
  requestTimeoutMs?: number;
}
export interface EtcdTls {
  ca: string;
  /** Of this client, with its key; both or none. */
  certificate?: string | undefined;
  key?: string | undefined;
  /** Name to expect in the server's certificate instead of the endpoint's host. */
  serverName?: string;
}

const REQUEST_TIMEOUT_MS = 5000;
/** A page of a list; a thousand tasks are about a megabyte. */
const PAGE_KEYS = 2000;
const MAX_MESSAGE_BYTES = 256 * 1024 * 1024;

type FaultPolicy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>;

/**
 * Lets each call through once: who calls knows best what to repeat. Errors are made ours here, as
 * the client answers some of its own by closing the channel under all other calls.
 */
const passThrough: Omit<FaultPolicy, '_altReturn'> = {
  onSuccess: () => ({ dispose: () => undefined }),
  onFailure: () => ({ dispose: () => undefined }),
  execute: async (run, signal = new AbortController().signal) => {
    try {
      return await run({ signal });
    } catch (error) {
      throw fromEtcdError(error);
    }
  },
};

/** The store in etcd ≥ 3.4, by its v3 API. */
export class EtcdStore implements Store {
  readonly #client: Etcd3;
  /** A stream that ends with an error takes its client's channel along, so streams have others. */
  readonly #leaseClient: Etcd3;
  readonly #openClient: () => Etcd3;
  readonly #modules: { clock: Clock; random: Random };
  readonly #watches = new Set<EtcdWatch>();

  constructor(options: EtcdStoreOptions, modules: { clock: Clock; random: Random }) {
    this.#modules = modules;
    this.#openClient = () => new Etcd3(clientOptions(options, modules.clock));
    this.#client = this.#openClient();
    this.#leaseClient = this.#openClient();
  }

  async list(prefix: string): Promise<{ revision: number; entries: Entry[] }> {
    const entries: Entry[] = [];
    const end = prefixEnd(prefix);
    let start = Buffer.from(prefix);
    let revision = 0;
    for (;;) {
      const page = await this.#call('list', prefix, () =>
        this.#client.kv.range({ key: start, range_end: end, limit: PAGE_KEYS, revision }),
      );
      if (revision === 0) revision = Number(page.header.revision);
      for (const kv of page.kvs) entries.push(toEntry(kv));
      const last = page.kvs.at(-1);
      if (!page.more || last === undefined) return { revision, entries };
      start = Buffer.concat([last.key, Buffer.from([0])]); // the first key after it
    }
  }

  async get(key: string): Promise<Entry | undefined> {
    const { kvs } = await this.#call('get', key, () =>
      this.#client.kv.range({ key: Buffer.from(key) }),
    );
    return kvs[0] === undefined ? undefined : toEntry(kvs[0]);
  }

  watch(prefix: string, revision: number, handler: WatchHandler): Promise<Watch> {
    const client = this.#openClient();
    const watch = new EtcdWatch(
      { key: Buffer.from(prefix), rangeEnd: prefixEnd(prefix), revision },
      handler,
      {
        ...this.#modules,
        open: () => client.watchClient.watch(),
        onClose: () => {
          this.#watches.delete(watch);
          client.close();
        },
      },
    );
    this.#watches.add(watch);
    watch.start();
    return Promise.resolve(watch);
  }

  async commit(transaction: Transaction): Promise<number> {
    validateTransaction(transaction);
    const { guards, puts, deletes } = transaction;
    const answer = await this.#call('commit', puts[0]?.key ?? deletes[0] ?? '', () =>
      this.#client.kv.txn({
        compare: guards.map(toCompare),
        success: [
          ...puts.map(({ key, value, leaseId }) => ({
            request_put: {
              key: Buffer.from(key),
              value: Buffer.from(value.buffer, value.byteOffset, value.byteLength),
              lease: leaseId ?? 0,
            },
          })),
          ...deletes.map((key) => ({ request_delete_range: { key: Buffer.from(key) } })),
        ],
      }),
    );
    if (!answer.succeeded) throw conflictOf(transaction);
    return Number(answer.header.revision);
  }

  async grantLease(ttlMs: number): Promise<Lease> {
    const { ID: id, TTL: ttl } = await this.#call('grant a lease', '', () =>
      this.#client.leaseClient.leaseGrant({ TTL: Math.ceil(ttlMs / 1000) }),
    );
    return {
      id,
      ttlMs: Number(ttl) * 1000,
      renew: () => this.#call('renew lease', id, () => this.#renew(id)),
      revoke: async () => {
        try {
          await this.#call('revoke lease', id, () =>
            this.#client.leaseClient.leaseRevoke({ ID: id }),
          );
        } catch (error) {
          if (!(error instanceof HatobaError && error.kind === 'not-found')) throw error;
        }
      },
    };
  }

  /** Whether etcd answers a linearizable read: it is up and has a quorum. */
  async checkHealth(): Promise<void> {
    await this.get('/health');
  }

  /** Forgets the history before `revision`. */
  async compact(revision: number): Promise<void> {
    await this.#call('compact', '', () => this.#client.kv.compact({ revision }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#watches].map((w) => w.close()));
    this.#leaseClient.close();
    this.#client.close();
  }

  async #renew(id: string): Promise<void> {
    const stream = await this.#leaseClient.leaseClient.leaseKeepAlive({
      deadline: this.#modules.clock.nowMs() + REQUEST_TIMEOUT_MS,
    });
    try {
      const ttl = await new Promise<string>((resolve, reject) => {
        stream.on('data', (answer) => resolve(answer.TTL));
        stream.on('error', reject);
        stream.on('end', () => reject(new Error('the stream ended')));
        stream.write({ ID: id });
      });
      if (ttl === '0') throw new EtcdLeaseInvalidError(id);
    } finally {
      stream.end();
    }
  }

  async #call<T>(what: string, key: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw wrapError(fromEtcdError(error), `etcd: ${what} ${key}`.trim());
    }
  }
}

function clientOptions(options: EtcdStoreOptions, clock: Clock): IOptions {
  const { endpoints, tls, requestTimeoutMs = REQUEST_TIMEOUT_MS } = options;
  return {
    hosts: toHosts(endpoints),
    ...(tls === undefined
      ? {}
      : {
          credentials: {
            rootCertificate: Buffer.from(tls.ca),
            ...(tls.certificate === undefined ? {} : { certChain: Buffer.from(tls.certificate) }),
            ...(tls.key === undefined ? {} : { privateKey: Buffer.from(tls.key) }),
          },
        }),
    grpcOptions: {
      'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
      // etcd comes back within a second or two; gRPC's own first pause is that long
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.min_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 1000,
      // notices a dead peer behind a silent network; etcd allows a ping each 5 s
      'grpc.keepalive_time_ms': 6000,
      'grpc.keepalive_timeout_ms': 3000,
      ...(tls?.serverName === undefined ? {} : { 'grpc.ssl_target_name_override': tls.serverName }),
    },
    defaultCallOptions: ({ isStream }) =>
      isStream ? {} : { deadline: clock.nowMs() + requestTimeoutMs },
    // the field left out is one that the library declares and never has
    faultHandling: { host: () => passThrough as FaultPolicy, global: passThrough as FaultPolicy },
  };
}

/**
 * Members given by IPv4 address become one gRPC target, which moves on to the next by itself when
 * one does not answer; the client would take one at random for each call, dead or not.
 */
function toHosts(endpoints: readonly string[]): string | string[] {
  const addresses = endpoints.map((endpoint) => endpoint.replace(/^https?:\/\//, ''));
  if (addresses.length < 2 || !addresses.every((a) => /^[\d.]+:\d+$/.test(a)))
    return [...endpoints];
  const scheme = endpoints.every((e) => e.startsWith('https://')) ? 'https://' : '';
  return `${scheme}ipv4:${addresses.join(',')}`;
}

function toEntry(kv: { key: Buffer; value: Buffer; mod_revision: string }): Entry {
  return { key: kv.key.toString(), value: kv.value, revision: Number(kv.mod_revision) };
}

function toCompare(
  guard: Guard,
): NonNullable<Parameters<Etcd3['kv']['txn']>[0]['compare']>[number] {
  const key = Buffer.from(guard.key);
  return 'revision' in guard
    ? { key, target: 'Mod', result: 'Equal', mod_revision: guard.revision }
    : { key, target: 'Create', result: 'Equal', create_revision: guard.createRevision };
}

/** The first key behind all that start with `prefix` (which is ASCII and not empty). */
function prefixEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  const last = end.length - 1;
  end.writeUInt8(end.readUInt8(last) + 1, last);
  return end;
}
