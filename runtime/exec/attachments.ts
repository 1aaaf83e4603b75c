import type { Duplex } from 'node:stream';
import { sleep, type Clock } from '../../common/clock.js';
import { HatobaError, isKind } from '../../common/errors.js';
import type { Sockets } from '../../linux/ports.js';
import type { ContainerPaths } from '../container/paths.js';
import { isAlive, zombieExitCode } from '../container/process-identity.js';
import { hasProcess, type ContainerEntry } from '../container/record.js';
import type { ContainerRegistry } from '../container/registry.js';
import { stdinEndsWithClient } from '../core/process-plan.js';
import type { AttachOptions, AttachSession, TerminalSize } from '../engine.js';
import { attachSocketOf, MAX_STDIN_PACKET_BYTES, readPid } from '../oci/conmon.js';
import { tellSize } from '../oci/conmon-control.js';
import type { Crun } from '../oci/crun.js';
import { Attachment, type AttachmentOptions } from './attachment.js';

/** conmon takes ten who wait at a time. */
const CONNECT_TRIES = 100;
const TRY_AGAIN_MS = 20;

export interface AttachModules {
  paths: ContainerPaths;
  registry: ContainerRegistry;
  sockets: Sockets;
  crun: Pick<Crun, 'isWaiting'>;
  clock: Clock;
  bootId: string;
}

interface Waiting {
  attachment: Attachment;
  options: AttachOptions;
}

/**
 * Attaches clients to the containers' own processes, by conmon's sockets. They outlive an engine,
 * clients do not. conmon waits for each client to take its part of the output before it goes on, so
 * each connection is read whatever its client does, unless that one may hold the container back.
 *
 * What is typed into a stdin that the container has closed makes conmon (2.1) try again for ever, at
 * the cost of a core, until the container ends. Nothing tells us that it is closed.
 */
export class Attachments implements Disposable {
  readonly #modules: AttachModules;
  /** By container: those whose run is still to come. */
  readonly #waiting = new Map<string, Set<Waiting>>();
  readonly #unsubscribe: () => void;

  constructor(modules: AttachModules) {
    this.#modules = modules;
    this.#unsubscribe = modules.registry.onEvent(({ id, type }) => {
      if (type === 'removed') this.#giveUp(id);
      // Those who came while it was being started.
      if (type === 'started') void this.onRunMade(id);
    });
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
    for (const id of this.#waiting.keys()) this.#giveUp(id);
  }

  /** @throws {HatobaError} not-found; failed-precondition when it does not run */
  async attach(id: string, options: AttachOptions): Promise<AttachSession> {
    const entry = this.#modules.registry.mustGet(id);
    const attachment = new Attachment(this.#plan(entry, options));
    const isNew = entry.status.status === 'created';
    if (hasProcess(entry)) await this.#connect(id, { attachment, options });
    else if (options.nextRun === true || isNew) this.#wait(id, { attachment, options });
    else throw notRunning(entry);
    return attachment;
  }

  /**
   * Connects those who wait for a run; its process is there and not let go yet. Never fails: they
   * are told instead.
   */
  async onRunMade(id: string): Promise<void> {
    const waiting = [...(this.#waiting.get(id) ?? [])];
    this.#waiting.delete(id);
    const connect = (one: Waiting): Promise<void> =>
      this.#connect(id, one).catch((error: unknown) => one.attachment.fail(error));
    await Promise.all(waiting.map(connect));
  }

  #plan({ record }: ContainerEntry, options: AttachOptions): AttachmentOptions {
    const { clock, paths } = this.#modules;
    const { id, name, spec } = record.config;
    const stdin = options.stdin && spec.openStdin;
    return {
      name,
      stdin,
      tty: spec.tty,
      holdsBack: options.holdsBack ?? false,
      mustStay: spec.openStdin && stdinEndsWithClient(spec) && !stdin,
      isRunning: () => this.#isRunning(id),
      resize: (size) => tellSize(paths.of(id).control, size),
      clock,
    };
  }

  async #connect(id: string, { attachment, options }: Waiting): Promise<void> {
    if (attachment.hasLeft) return;
    attachment.join(await this.#openConnection(id));
    const { size } = options;
    if (size === undefined) return;
    if (!(await this.#resizeBeforeStart(id, size))) await attachment.resize(size);
  }

  /**
   * conmon takes its time to set a size; what is about to run should find it there already.
   * @returns false when it runs
   */
  async #resizeBeforeStart(id: string, size: TerminalSize): Promise<boolean> {
    const { paths, registry, crun, sockets } = this.#modules;
    if (!registry.mustGet(id).record.config.spec.tty || !crun.isWaiting(id)) return false;
    const pid = readPid(paths.of(id).pidFile);
    try {
      await sockets.resizeTerminal(`/proc/${pid}/fd/0`, size);
      return true;
    } catch {
      // It was started, or has ended, just now.
      return false;
    }
  }

  async #openConnection(id: string): Promise<Duplex> {
    const { paths, sockets, registry, clock } = this.#modules;
    const socket = attachSocketOf(paths.of(id).bundle);
    for (let tries = 1; ; tries++) {
      try {
        return await sockets.connectPackets(socket, MAX_STDIN_PACKET_BYTES);
      } catch (error) {
        const entry = registry.mustGet(id);
        if (!hasProcess(entry)) throw notRunning(entry, error);
        if (!isKind(error, 'unavailable') || tries >= CONNECT_TRIES) throw error;
      }
      await sleep(clock, TRY_AGAIN_MS);
    }
  }

  #wait(id: string, waiting: Waiting): void {
    const others = this.#waiting.get(id) ?? new Set();
    this.#waiting.set(id, others.add(waiting));
    waiting.attachment.stdout.once('close', () => others.delete(waiting));
  }

  #giveUp(id: string): void {
    for (const { attachment } of this.#waiting.get(id) ?? []) attachment.detach();
    this.#waiting.delete(id);
  }

  #isRunning(id: string): boolean {
    const process = this.#modules.registry.get(id)?.status.process;
    if (process === undefined || !isAlive(process, this.#modules.bootId)) return false;
    return zombieExitCode(process.pid) === undefined;
  }
}

function notRunning({ record, status }: ContainerEntry, cause?: unknown): HatobaError {
  return new HatobaError(
    'failed-precondition',
    `container ${record.config.name} is not running (${status.status}): start it first`,
    { cause },
  );
}
