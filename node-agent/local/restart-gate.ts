import { HatobaError } from '../../common/errors.js';
import type { ContainerConfig } from '../../runtime/engine.js';

type BeforeRestart = (config: ContainerConfig) => Promise<void>;

/**
 * The engine is opened before the networks are, and may want to start containers again at once:
 * those wait here until the networks are there.
 */
export class RestartGate {
  readonly #handler: Promise<BeforeRestart>;
  #open: (handler: BeforeRestart) => void = () => undefined;
  #close: (reason: Error) => void = () => undefined;

  constructor() {
    this.#handler = new Promise((resolve, reject) => {
      this.#open = resolve;
      this.#close = reject;
    });
    this.#handler.catch(() => undefined); // whoever waits hears of it
  }

  /** Resolves when the network of the container is there. */
  readonly pass: BeforeRestart = async (config) => {
    const handler = await this.#handler;
    await handler(config);
  };

  /** From now on `handler` makes the networks. */
  open(handler: BeforeRestart): void {
    this.#open(handler);
  }

  /** Nobody will come any more. */
  close(): void {
    this.#close(new HatobaError('cancelled', 'the agent is stopping'));
  }
}
