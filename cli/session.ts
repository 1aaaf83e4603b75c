import { HatobaError } from '../common/errors.js';
import { ControlClient } from '../proto/gen/hatoba/v1/control.js';
import { localTarget, openClient } from '../proto/wire/client.js';
import { readConfig, type CliConfig } from './config.js';
import { DEFAULT_SOCKET, managerSocket } from './context.js';

/** What a command works with: the manager's API, and when to stop. */
export interface Session {
  readonly config: CliConfig;
  readonly control: ControlClient;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
}

/**
 * Aborts at the first SIGINT or SIGTERM; a second one ends the process as usual. While held, they
 * are left to whoever holds them.
 */
export class Interrupts {
  readonly #controller = new AbortController();
  #holders = 0;

  constructor() {
    for (const name of ['SIGINT', 'SIGTERM'] as const) {
      const onSignal = (): void => {
        if (this.#holders > 0) return;
        process.off(name, onSignal);
        this.#controller.abort(new HatobaError('cancelled', 'interrupted'));
      };
      process.on(name, onSignal);
    }
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** @returns what gives them back, once */
  hold(): () => void {
    this.#holders += 1;
    let isHeld = true;
    return () => {
      if (isHeld) this.#holders -= 1;
      isHeld = false;
    };
  }
}

/**
 * Runs a command against the manager of the current context.
 * @throws {HatobaError} unavailable, saying how to start a manager
 */
export async function withControl(run: (session: Session) => Promise<void>): Promise<void> {
  const config = readConfig();
  const socket = await managerSocket(config);
  const control = openClient(ControlClient, localTarget(socket));
  try {
    await run({ config, control, signal: new Interrupts().signal });
  } catch (error) {
    throw isUnreachable(error, socket) ? unreachable(socket, error) : error;
  } finally {
    control.close();
  }
}

/** Whether a call failed as nobody answers at the socket it was made to. */
export function isUnreachable(error: unknown, socket: string): error is HatobaError {
  return (
    error instanceof HatobaError && error.kind === 'unavailable' && error.message.includes(socket)
  );
}

function unreachable(socket: string, cause: HatobaError): HatobaError {
  const hint = /EACCES/.test(cause.message)
    ? 'only root and the group "hatoba" may use it'
    : socket === DEFAULT_SOCKET
      ? 'start a cluster with "hatoba init" or "hatoba dev up", or run this on a manager'
      : 'is that manager running? "hatoba dev ls" shows the hosts of a development cluster';
  return new HatobaError('unavailable', `no manager answers at ${socket}: ${hint}`);
}
