import type { Logger } from '../../common/logger.js';
import type { Transport } from './exchange.js';
import type { Reply } from './responder.js';

export type Respond = (message: Buffer, from: string, transport: Transport) => Reply;

/**
 * Answers questions of both transports; `done` is called once, with the answer if there is one. It
 * must not throw.
 */
export class Answerer {
  readonly #respond: Respond;
  readonly #logger: Logger;

  constructor(respond: Respond, logger: Logger) {
    this.#respond = respond;
    this.#logger = logger;
  }

  answer(
    message: Buffer,
    { from, transport }: { from: string; transport: Transport },
    done: (answer: Buffer | undefined) => void,
  ): void {
    const onError = (error: unknown): void => {
      this.#logger.error('Could not answer a DNS question', { from }, error);
      done(undefined);
    };
    let reply: Reply;
    try {
      reply = this.#respond(message, from, transport);
    } catch (error) {
      return onError(error);
    }
    if (reply instanceof Promise) reply.then(done, onError);
    else done(reply);
  }
}
