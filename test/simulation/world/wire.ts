import { describeError, HatobaError, kindOf } from '../../../common/errors.js';
import type { CallContext } from '../../../proto/wire/service.js';
import type { NodeIdentity } from '../../../proto/wire/tls.js';
import type { DispatcherServer } from '../../../manager/rpc/dispatcher-server.js';
import type { CallOptions, Dispatcher } from '../../../node-agent/session/dispatcher.js';
import type { SimNetwork } from './network.js';
import type { SimProcess } from './process.js';

type Server = Pick<
  DispatcherServer<unknown>,
  | 'session'
  | 'assignments'
  | 'heartbeat'
  | 'updateTaskStatus'
  | 'attachContainer'
  | 'detachContainer'
  | 'keepAttachments'
>;

/** A manager's end: who serves at its host by now. */
export interface Endpoint {
  readonly host: string;
  /** Undefined: the machine is off. `server` undefined: nobody listens. */
  serving(): { process: SimProcess; server: Server | undefined } | undefined;
}

export interface WireModules {
  readonly network: SimNetwork;
  /** The agent's. */
  readonly process: SimProcess;
  readonly host: string;
  readonly identity: NodeIdentity;
  /** Told of what the node reports, as it is sent. */
  readonly onReport: (updates: Parameters<Dispatcher['updateTaskStatus']>[0]['updates']) => void;
  readonly onClosed: () => void;
}

type Settle = { resolve: (value: unknown) => void; reject: (error: Error) => void };

/**
 * An agent's connection to a manager in place of gRPC: the same calls, errors that have lost all but
 * their kind and words, and a connection that breaks when either end is gone.
 */
export class SimDispatcher implements Dispatcher {
  readonly #modules: WireModules;
  readonly #endpoint: Endpoint;
  readonly #up: (arrive: () => void) => void;
  readonly #down: (arrive: () => void) => void;
  /** The manager's process that answered first: another one knows nothing of this connection. */
  #peer: SimProcess | undefined;
  #broken: HatobaError | undefined;
  readonly #calls = new Set<Settle>();
  /** Of the calls that the manager works on. */
  readonly #contexts = new Set<AbortController>();

  constructor(endpoint: Endpoint, modules: WireModules) {
    this.#modules = modules;
    this.#endpoint = endpoint;
    this.#up = modules.network.lane(modules.host, endpoint.host);
    this.#down = modules.network.lane(endpoint.host, modules.host);
  }

  async connected(timeoutMs: number): Promise<void> {
    await this.#unary({ timeoutMs }, () => Promise.resolve());
  }

  session(...[request, signal]: Parameters<Dispatcher['session']>) {
    return this.#stream(signal, (server, context) => server.session(request, context));
  }

  assignments(...[request, signal]: Parameters<Dispatcher['assignments']>) {
    return this.#stream(signal, (server, context) => server.assignments(request, context));
  }

  heartbeat(...[request, options]: Parameters<Dispatcher['heartbeat']>) {
    return this.#unary(options, (server, context) => server.heartbeat(request, context));
  }

  async updateTaskStatus(...[request, options]: Parameters<Dispatcher['updateTaskStatus']>) {
    this.#modules.onReport(request.updates);
    await this.#unary(options, (server, context) => server.updateTaskStatus(request, context));
  }

  attachContainer(...[request, options]: Parameters<Dispatcher['attachContainer']>) {
    return this.#unary(options, (server, context) => server.attachContainer(request, context));
  }

  async detachContainer(...[request, options]: Parameters<Dispatcher['detachContainer']>) {
    await this.#unary(options, (server, context) => server.detachContainer(request, context));
  }

  async keepAttachments(...[request, options]: Parameters<Dispatcher['keepAttachments']>) {
    await this.#unary(options, (server, context) => server.keepAttachments(request, context));
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#break(new HatobaError('cancelled', 'the connection was closed'));
    this.#modules.onClosed();
    return Promise.resolve();
  }

  /** The agent's process is gone: its kernel closes the connection. */
  hangUp(): void {
    this.#up(() => this.#peer?.enter(() => this.#abortContexts()));
  }

  #unary<T>(
    options: Partial<CallOptions>,
    run: (server: Server, context: CallContext) => Promise<T>,
  ): Promise<T> {
    const { process } = this.#modules;
    return new Promise((resolve, reject) => {
      const cancelTimer =
        options.timeoutMs === undefined
          ? () => undefined
          : process.setTimer(options.timeoutMs, () =>
              settle.reject(new HatobaError('deadline', 'no answer in time')),
            );
      const end = (): void => {
        cancelTimer();
        options.signal?.removeEventListener('abort', onAbort);
        this.#calls.delete(settle);
      };
      const settle: Settle = {
        resolve: (value) => {
          end();
          resolve(value as T);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      const onAbort = (): void => settle.reject(options.signal?.reason as Error);
      if (this.#broken !== undefined) return settle.reject(this.#broken);
      if (options.signal?.aborted === true) return onAbort();
      options.signal?.addEventListener('abort', onAbort, { once: true });
      this.#calls.add(settle);
      this.#request((server, context, done) => {
        run(server, context).then(
          (value) => done(() => settle.resolve(value)),
          (error: unknown) => done(() => settle.reject(overTheWire(error))),
        );
      });
    });
  }

  #stream<T>(
    signal: AbortSignal,
    run: (server: Server, context: CallContext) => AsyncIterable<T>,
  ): AsyncIterable<T> {
    const inbox = new Inbox<T>();
    const fail: Settle = { resolve: () => undefined, reject: (error) => inbox.fail(error) };
    if (this.#broken !== undefined) inbox.fail(this.#broken);
    this.#calls.add(fail);
    let cancel = (): void => undefined;
    const onAbort = (): void => {
      inbox.fail(signal.reason as Error);
      cancel();
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#request((server, context, done, abort) => {
      cancel = () => this.#up(() => this.#peer?.enter(abort));
      void pump(run(server, context), (deliver) => this.#toAgent(deliver), inbox).finally(() =>
        done(() => this.#calls.delete(fail)),
      );
    });
    inbox.onReturn = () => {
      signal.removeEventListener('abort', onAbort);
      cancel();
    };
    return inbox;
  }

  /** Brings a call to whoever listens at the manager's host by then. */
  #request(
    serve: (
      server: Server,
      context: CallContext,
      done: (deliver: () => void) => void,
      abort: () => void,
    ) => void,
  ): void {
    const { identity, host } = this.#modules;
    this.#up(() => {
      const there = this.#endpoint.serving();
      if (there === undefined) return; // a machine without power says nothing
      const { process, server } = there;
      const isOther = this.#peer !== undefined && this.#peer !== process;
      if (server === undefined || !process.isAlive || isOther) {
        this.#refuse();
        return;
      }
      this.#peer = process;
      process.enter(() => {
        const controller = new AbortController();
        this.#contexts.add(controller);
        const context: CallContext = {
          caller: { kind: 'node', ...identity },
          signal: controller.signal,
          peer: host,
        };
        const done = (deliver: () => void): void => {
          this.#contexts.delete(controller);
          this.#toAgent(deliver);
        };
        const abort = (): void =>
          controller.abort(new HatobaError('cancelled', 'the caller has cancelled'));
        serve(server, context, done, abort);
      });
    });
  }

  /** The manager's process has ended: its kernel says so to whoever is connected. */
  onPeerGone(process: SimProcess): void {
    if (this.#peer === process) this.#refuse();
  }

  #refuse(): void {
    const error = new HatobaError('unavailable', 'the connection was refused');
    this.#down(() => this.#modules.process.enter(() => this.#break(error)));
  }

  #toAgent(deliver: () => void): void {
    this.#down(() => this.#modules.process.enter(deliver));
  }

  #break(error: HatobaError): void {
    if (this.#broken !== undefined) return;
    this.#broken = error;
    for (const call of [...this.#calls]) call.reject(error);
    this.#calls.clear();
    this.hangUp();
  }

  #abortContexts(): void {
    for (const context of this.#contexts) {
      context.abort(new HatobaError('cancelled', 'the connection is gone'));
    }
    this.#contexts.clear();
  }
}

/** An error as the other end sees it. */
function overTheWire(error: unknown): HatobaError {
  return new HatobaError(kindOf(error), describeError(error));
}

async function pump<T>(
  messages: AsyncIterable<T>,
  send: (deliver: () => void) => void,
  inbox: Inbox<T>,
): Promise<void> {
  try {
    for await (const message of messages) send(() => inbox.push(message));
    send(() => inbox.end());
  } catch (error) {
    send(() => inbox.fail(overTheWire(error)));
  }
}

/** The receiving end of a stream. */
class Inbox<T> implements AsyncIterableIterator<T> {
  readonly #messages: T[] = [];
  #end: { error: Error | undefined } | undefined;
  #wake: () => void = () => undefined;
  onReturn: () => void = () => undefined;

  push(message: T): void {
    if (this.#end !== undefined) return;
    this.#messages.push(message);
    this.#wake();
  }

  end(): void {
    this.#end ??= { error: undefined };
    this.#wake();
  }

  fail(error: Error): void {
    this.#end ??= { error };
    this.#wake();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async next(): Promise<IteratorResult<T, undefined>> {
    for (;;) {
      const value = this.#messages.shift();
      if (value !== undefined) return { done: false, value };
      if (this.#end?.error !== undefined) throw this.#end.error;
      if (this.#end !== undefined) return { done: true, value: undefined };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.end();
    this.onReturn();
    return Promise.resolve({ done: true, value: undefined });
  }
}
