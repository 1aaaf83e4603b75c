import { Writable, type Duplex } from 'node:stream';
import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { AttachSession, TerminalSize } from '../engine.js';
import { STDERR_MARK } from '../oci/conmon.js';
import { withDeadline } from '../oci/pipes.js';
import { PacedOutput } from './paced-output.js';

/** More than any burst one who reads at all does not catch up with. */
const MAX_BEHIND_BYTES = 8 * 1024 * 1024;
/** How often one who holds a container back looks whether it has ended meanwhile. */
const LOOK_AGAIN_MS = 100;

export interface AttachmentOptions {
  /** For messages. */
  name: string;
  /** Input is passed on; else it is lost. */
  stdin: boolean;
  tty: boolean;
  holdsBack: boolean;
  /** Its connection is kept to the end, as the container's stdin would end with it. */
  mustStay: boolean;
  /** Whether the container's own process still runs: else nothing is gained by holding it back. */
  isRunning: () => boolean;
  resize: (size: TerminalSize) => void;
  clock: Clock;
}

/**
 * One client of a container's own process. Its streams are there before the connection is, which
 * comes with the container's next run.
 */
export class Attachment implements AttachSession {
  readonly stdin: Writable;
  readonly stdout = new PacedOutput();
  readonly stderr = new PacedOutput();
  readonly #options: AttachmentOptions;
  #connection: Duplex | undefined;
  #onConnection: () => void = () => undefined;
  #hasLeft = false;

  constructor(options: AttachmentOptions) {
    this.#options = options;
    this.stdin = new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        this.#whenConnected(() => this.#type(chunk, done));
      },
      final: (done) => {
        this.#whenConnected(() => {
          if (options.stdin) this.#connection?.end();
          done();
        });
      },
    });
    // Told to whoever reads, and nobody need.
    for (const output of [this.stdout, this.stderr]) output.on('error', () => undefined);
    if (options.tty) this.stderr.end();
  }

  get hasLeft(): boolean {
    return this.#hasLeft;
  }

  /** Takes the connection over; called once. */
  join(connection: Duplex): void {
    this.#connection = connection;
    if (this.#hasLeft) connection.destroy();
    this.#pump(connection).then(
      () => this.#end(),
      // Leaving cuts the connection.
      (error: unknown) => (this.#hasLeft ? this.#end() : this.fail(error)),
    );
    this.#onConnection();
  }

  resize(size: TerminalSize): Promise<void> {
    if (this.#options.tty && this.#connection !== undefined) this.#options.resize(size);
    return Promise.resolve();
  }

  /** Also for one whose run never comes. */
  detach(): void {
    this.#hasLeft = true;
    if (!this.#options.mustStay) this.#connection?.destroy();
    this.#end();
  }

  /** Tells the client why there is nothing more. */
  fail(error: unknown): void {
    const reason = error instanceof Error ? error : new Error(String(error));
    this.stdout.destroy(reason);
    this.stderr.destroy(reason);
    this.stdin.destroy();
  }

  #end(): void {
    this.stdout.end();
    this.stderr.end();
    this.stdin.destroy();
  }

  #whenConnected(act: () => void): void {
    if (this.#connection === undefined) this.#onConnection = act;
    else act();
  }

  #type(chunk: Buffer, done: () => void): void {
    const connection = this.#connection;
    if (!this.#options.stdin || connection === undefined || connection.destroyed) {
      done();
      return;
    }
    connection.write(chunk, () => done());
  }

  /** Of one who reads too slowly. */
  #cutOff(): void {
    const { name, mustStay } = this.#options;
    this.fail(
      new HatobaError(
        'resource-exhausted',
        `container ${name}: ${MAX_BEHIND_BYTES >> 20} MiB of its output were not read, so this client was detached; it runs on, and all of it is in its log`,
      ),
    );
    if (!mustStay) this.#connection?.destroy();
  }

  async #pump(connection: Duplex): Promise<void> {
    const { tty } = this.#options;
    for await (const packet of connection as AsyncIterable<Buffer>) {
      const isError = packet[0] === STDERR_MARK && !tty;
      const output = isError ? this.stderr : this.stdout;
      if (!output.give(packet.subarray(1))) await this.#waitFor(output);
    }
  }

  /** Until the reader has caught up, if it may be waited for. */
  async #waitFor(output: PacedOutput): Promise<void> {
    const { holdsBack, isRunning, clock } = this.#options;
    if (!holdsBack) {
      if (output.behindBytes > MAX_BEHIND_BYTES) this.#cutOff();
      return;
    }
    // conmon waits too, and could not even tell of the container's end. Each look waits anew: a
    // promise would keep everybody who ever waited for it.
    while (isRunning()) {
      const caughtUp = output.caughtUp();
      const result = await withDeadline(clock, LOOK_AGAIN_MS, caughtUp, () => undefined);
      if (result !== 'timeout') return;
    }
  }
}
