import type { Clock } from '../../common/clock.js';
import { describeError } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { ContainerEntry } from '../container/record.js';
import type { ContainerRegistry } from '../container/registry.js';
import {
  afterProbe,
  INITIAL_HEALTH,
  nextProbeDelayMs,
  type HealthCheck,
  type HealthState,
} from '../core/health-machine.js';
import type { ExecSession } from '../engine.js';
import { withDeadline } from '../oci/pipes.js';

/** What is kept of a probe's output, as in Docker. */
const MAX_OUTPUT_BYTES = 4096;

export interface ProberModules {
  registry: ContainerRegistry;
  clock: Clock;
  log: Logger;
  /** Starts the probe's command in a container. */
  exec: (entry: ContainerEntry, command: readonly string[]) => Promise<ExecSession>;
}

/** The probes of one container from its start, or the end of a pause, to its end or the next pause. */
interface Round {
  readonly id: string;
  readonly check: HealthCheck;
  cancel: () => void;
}

/** Runs the health checks of all running containers, and writes what they say into their state. */
export class HealthProber implements Disposable {
  readonly #modules: ProberModules;
  /** One for each container that is probed; a probe of an earlier one says nothing any more. */
  readonly #rounds = new Map<string, Round>();
  readonly #unsubscribe: () => void;

  constructor(modules: ProberModules) {
    this.#modules = modules;
    this.#unsubscribe = modules.registry.onEvent(({ id, type }) => {
      if (type === 'started' || type === 'unpaused') this.watch(id);
      if (type === 'exited' || type === 'paused') this.#forget(id);
    });
  }

  /** Begins with a container that runs; nothing without a health check. */
  watch(id: string): void {
    const entry = this.#modules.registry.get(id);
    if (entry?.record.health === undefined) return;
    this.#forget(id);
    const round: Round = { id, check: entry.record.health, cancel: () => undefined };
    this.#rounds.set(id, round);
    this.#schedule(round);
  }

  [Symbol.dispose](): void {
    this.#unsubscribe();
    for (const id of [...this.#rounds.keys()]) this.#forget(id);
  }

  #forget(id: string): void {
    this.#rounds.get(id)?.cancel();
    this.#rounds.delete(id);
  }

  #isPresent(round: Round): boolean {
    return this.#rounds.get(round.id) === round;
  }

  #schedule(round: Round): void {
    const { id, check } = round;
    const entry = this.#modules.registry.get(id);
    if (entry?.status.status !== 'running') return;
    const { clock } = this.#modules;
    const sinceStartMs = clock.nowMs() - (entry.status.startedAtMs ?? 0);
    const delayMs = nextProbeDelayMs(check, toHealthState(entry), sinceStartMs);
    round.cancel = clock.setTimer(delayMs, () => {
      // Cannot reject: #probe turns every failure into a failed probe.
      void this.#probe(round).then(() => {
        if (this.#isPresent(round)) this.#schedule(round);
      });
    });
  }

  async #probe(round: Round): Promise<void> {
    const { registry, clock, log } = this.#modules;
    const { id, check } = round;
    const entry = registry.get(id);
    if (entry?.status.status !== 'running') return;
    const sinceStartMs = clock.nowMs() - (entry.status.startedAtMs ?? 0);
    const result = await this.#run(entry, check);
    const now = registry.get(id);
    if (now?.status.status !== 'running' || !this.#isPresent(round)) return;
    const next = afterProbe(check, toHealthState(now), result.passed, sinceStartMs);
    try {
      registry.update(
        id,
        {
          health: next.status,
          failingStreak: next.failingStreak,
          healthOutput: result.output,
        },
        'health',
      );
    } catch (error) {
      log.error('Recording container health failed', { containerId: id }, error);
    }
  }

  async #run(
    entry: ContainerEntry,
    check: HealthCheck,
  ): Promise<{ passed: boolean; output: string }> {
    try {
      const session = await this.#modules.exec(entry, check.command);
      const output = new Output(session);
      const work = Promise.all([session.exitCode, output.done]);
      const result = await withDeadline(this.#modules.clock, check.timeoutMs, work, () => {
        session.kill().catch((error: unknown) => {
          this.#modules.log.warn('Ending a slow health check failed', {}, error);
        });
        output.stop();
      });
      if (result === 'timeout') {
        return {
          passed: false,
          output: `Health check exceeded timeout (${check.timeoutMs} ms)`,
        };
      }
      return { passed: result.value[0] === 0, output: output.text };
    } catch (error) {
      return { passed: false, output: describeError(error) };
    }
  }
}

function toHealthState({ status }: ContainerEntry): HealthState {
  return status.health === 'none'
    ? INITIAL_HEALTH
    : { status: status.health, failingStreak: status.failingStreak };
}

/** Both streams together, the first part kept, all of it drained. */
class Output {
  readonly done: Promise<void>;
  readonly #session: ExecSession;
  readonly #parts: Buffer[] = [];
  #bytes = 0;

  constructor(session: ExecSession) {
    this.#session = session;
    const streams = [session.stdout, session.stderr];
    this.done = Promise.all(
      streams.map(
        (stream) =>
          new Promise<void>((resolve) => {
            stream.on('data', (part: Buffer) => this.#keep(part));
            stream.on('end', resolve);
            stream.on('close', resolve);
          }),
      ),
    ).then(() => undefined);
  }

  get text(): string {
    return Buffer.concat(this.#parts).toString('utf8').trimEnd();
  }

  /** A process the probe left behind may hold the streams open. */
  stop(): void {
    this.#session.stdout.destroy();
    this.#session.stderr.destroy();
  }

  #keep(part: Buffer): void {
    const room = MAX_OUTPUT_BYTES - this.#bytes;
    if (room <= 0) return;
    this.#parts.push(part.subarray(0, room));
    this.#bytes += Math.min(room, part.length);
  }
}
