import { backoffMs } from '../../common/backoff.js';
import { sleep, type Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { NodeDescription, TaskStatus } from '../../common/model/objects.js';
import type { Random } from '../../common/random.js';
import type { AssignmentsMessage, SessionMessage } from '../../proto/gen/hatoba/v1/dispatcher.js';
import type { CallOptions, ConnectDispatcher, Dispatcher } from './dispatcher.js';
import { DescriptionWatch } from './description-watch.js';
import { Heartbeat } from './heartbeat.js';
import type { ManagerList } from './manager-list.js';
import type { StatusReporter } from './status-reporter.js';

export interface SessionModules {
  readonly connect: ConnectDispatcher;
  readonly managers: Pick<ManagerList, 'addresses' | 'learn'>;
  readonly reporter: Pick<StatusReporter, 'run'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** This node, as seen by a manager at `address`. */
  readonly describe: (address: string) => Promise<NodeDescription>;
  /** The newest status of every assigned task. */
  readonly statuses: () => ReadonlyMap<string, TaskStatus>;
  readonly appliedNetworkRevision: () => number;
  /** @returns false when the message does not follow the one before */
  readonly onAssignments: (message: AssignmentsMessage) => boolean;
  /** A manager can be called from now on. */
  readonly onOpen?: () => void;
}

const RECONNECT = { baseMs: 100, maxMs: 2000 } as const;
/**
 * A host that is off answers nothing at all; one that comes up is to be found soon. One that is busy
 * with the handshakes of many nodes gets more time at each round.
 */
const CONNECT = { baseMs: 2000, maxMs: 5000 } as const;
const FIRST_MESSAGE_TIMEOUT_MS = 5000;
const REPORT_TIMEOUT_MS = 5000;
const CALL_TIMEOUT_MS = 5000;
/** A session that lived this long counts as a success: the next one is tried at once. */
const STEADY_AFTER_MS = 2000;

/**
 * The node's side of its connection to the cluster, for as long as the agent lives: one session
 * after the other, with one manager after the other. Each session has five parts (its own stream,
 * heartbeats, a look at the host, assignments, statuses); the end of any one ends it.
 */
export class Session {
  readonly #modules: SessionModules;
  #sessionId = '';
  /** When the present session, or the one before, was opened. */
  #openedAtMs = -Infinity;
  #heartbeat: Heartbeat | undefined;
  /** Makes calls within the present session. */
  #call: { dispatcher: Dispatcher; signal: AbortSignal } | undefined;

  constructor(modules: SessionModules) {
    this.#modules = modules;
  }

  /** Whether a manager has accepted this node and nothing has gone wrong since. */
  get isConnected(): boolean {
    return this.#call !== undefined;
  }

  /**
   * Calls the manager that this node has a session with.
   * @throws {HatobaError} unavailable without one, and as the call does
   */
  async call<T>(
    run: (dispatcher: Dispatcher, sessionId: string, options: CallOptions) => Promise<T>,
    timeoutMs = CALL_TIMEOUT_MS,
  ): Promise<T> {
    if (this.#call === undefined) {
      throw new HatobaError('unavailable', 'this node has no connection to a manager now');
    }
    const { dispatcher, signal } = this.#call;
    try {
      return await run(dispatcher, this.#sessionId, { timeoutMs, signal });
    } catch (error) {
      if (!signal.aborted) throw error;
      const message = 'the session with the manager ended meanwhile';
      throw new HatobaError('unavailable', message, { cause: error });
    }
  }

  /** The applied network revision has changed: managers may wait for it. */
  onNetworkApplied(): void {
    this.#heartbeat?.hurry();
  }

  /**
   * Before an orderly end: tells the manager, if one is there, that this node's containers go on
   * without an agent. Takes a second at most.
   */
  async leave(): Promise<void> {
    try {
      await this.#heartbeat?.leave(new AbortController().signal);
    } catch (error) {
      this.#modules.log.warn('Could not tell the manager that this agent stops', {}, error);
    }
  }

  /** Resolves when the signal has aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, random, managers, log } = this.#modules;
    let turn = Math.floor(random.next() * managers.addresses().length);
    let failures = 0;
    while (!signal.aborted) {
      const addresses = managers.addresses();
      const address = addresses[turn++ % Math.max(1, addresses.length)] ?? '';
      const round = Math.floor(failures / Math.max(1, addresses.length));
      const startedAtMs = clock.nowMs();
      try {
        await this.#serve(address, connectTimeoutMs(round), signal);
      } catch (error) {
        if (isAborted(signal)) return;
        log.warn('Lost the session with a manager', { address }, error);
      }
      failures = this.#wasSteady(startedAtMs) ? 0 : failures + 1;
      const spentMs = Math.max(0, clock.nowMs() - startedAtMs); // clocks are set back
      const untilNextMs = backoffMs(Math.max(1, failures), RECONNECT, random) - spentMs;
      const pauseMs = Math.max(untilNextMs, backoffMs(1, RECONNECT, random));
      await sleep(clock, pauseMs, signal).catch(() => undefined);
    }
  }

  /** Whether what began at `startedAtMs` became a session that held. */
  #wasSteady(startedAtMs: number): boolean {
    const isOpened = this.#openedAtMs >= startedAtMs;
    return isOpened && this.#modules.clock.nowMs() - this.#openedAtMs >= STEADY_AFTER_MS;
  }

  async #serve(address: string, connectTimeoutMs: number, signal: AbortSignal): Promise<never> {
    if (address === '') {
      throw new HatobaError(
        'failed-precondition',
        'no manager is known: set managers in agent.yaml',
      );
    }
    const end = new AbortController();
    const onAbort = (): void => end.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const dispatcher = this.#modules.connect(address);
    try {
      return await this.#converse(dispatcher, { address, connectTimeoutMs }, end.signal);
    } finally {
      this.#call = undefined;
      this.#heartbeat = undefined;
      signal.removeEventListener('abort', onAbort);
      end.abort();
      await dispatcher[Symbol.asyncDispose]();
    }
  }

  async #converse(
    dispatcher: Dispatcher,
    { address, connectTimeoutMs }: { address: string; connectTimeoutMs: number },
    signal: AbortSignal,
  ): Promise<never> {
    const { clock, log, reporter, statuses, appliedNetworkRevision } = this.#modules;
    const description = await this.#modules.describe(address);
    const stream = dispatcher.session({ description, sessionId: this.#sessionId }, signal);
    const messages = stream[Symbol.asyncIterator]();
    const first = await this.#firstMessage(messages, dispatcher.connected(connectTimeoutMs));
    const { sessionId } = first;
    this.#sessionId = sessionId;
    await this.#learn(first);
    const describe = (): Promise<NodeDescription> => this.#modules.describe(address);
    const watch = new DescriptionWatch(description, { describe, clock, log });
    const heartbeat = new Heartbeat(
      { sessionId, periodMs: first.heartbeatPeriodMs },
      { dispatcher, clock, log, appliedNetworkRevision, description: watch },
    );
    this.#heartbeat = heartbeat;
    this.#call = { dispatcher, signal };
    this.#openedAtMs = clock.nowMs();
    log.info('Opened a session with a manager', { address, sessionId });
    this.#modules.onOpen?.();
    const send = (
      updates: Parameters<Dispatcher['updateTaskStatus']>[0]['updates'],
    ): Promise<void> =>
      dispatcher.updateTaskStatus({ sessionId, updates }, { timeoutMs: REPORT_TIMEOUT_MS, signal });
    return firstToFail([
      this.#follow(messages),
      heartbeat.run(signal),
      watch.run(signal),
      this.#assignments(dispatcher, sessionId, signal),
      reporter.run(statuses(), send, signal),
    ]);
  }

  async #firstMessage(
    messages: AsyncIterator<SessionMessage>,
    connected: Promise<void>,
  ): Promise<SessionMessage> {
    let cancel = (): void => undefined;
    const late = new Promise<never>((_, reject) => {
      cancel = this.#modules.clock.setTimer(FIRST_MESSAGE_TIMEOUT_MS, () => {
        reject(new HatobaError('deadline', 'the manager did not answer in time'));
      });
    });
    try {
      const next = messages.next();
      next.catch(() => undefined); // late may win; the stream then fails by the closed connection
      // why a connection is refused is what the stream fails with; that none comes, it does not tell
      const noConnection = connected.then(() => late);
      noConnection.catch(() => undefined);
      const first = await Promise.race([next, late, noConnection]);
      if (first.done === true) throw streamEnded('session');
      return first.value;
    } finally {
      cancel();
    }
  }

  async #follow(messages: AsyncIterator<SessionMessage>): Promise<never> {
    for (;;) {
      const next = await messages.next();
      if (next.done === true) throw streamEnded('session');
      await this.#learn(next.value);
    }
  }

  #learn(message: SessionMessage): Promise<void> {
    return this.#modules.managers.learn(message.managerAddresses);
  }

  async #assignments(
    dispatcher: Dispatcher,
    sessionId: string,
    signal: AbortSignal,
  ): Promise<never> {
    const { log, onAssignments } = this.#modules;
    for (let gaps = 0; ; gaps++) {
      let isInOrder = true;
      for await (const message of dispatcher.assignments({ sessionId }, signal)) {
        isInOrder = onAssignments(message);
        if (!isInOrder) break;
      }
      if (isInOrder || gaps >= 3) throw streamEnded('assignments');
      log.warn('Assignments out of sequence, asking for all of them', { sessionId });
    }
  }
}

/** @param round how often all managers have failed, one after the other */
function connectTimeoutMs(round: number): number {
  return Math.min(CONNECT.maxMs, CONNECT.baseMs * 2 ** Math.min(round, 10));
}

/** Read apart, as the compiler takes a checked flag for settled across an await. */
function isAborted(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Rejects with the first failure; the failures that follow from it say nothing new. */
function firstToFail(parts: readonly Promise<never>[]): Promise<never> {
  for (const part of parts) part.catch(() => undefined);
  return Promise.race(parts);
}

function streamEnded(name: string): HatobaError {
  return new HatobaError('unavailable', `the manager ended the ${name} stream`);
}
