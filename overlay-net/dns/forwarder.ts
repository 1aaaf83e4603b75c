import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import { FrameReader, toFrame } from './frames.js';

const DNS_PORT = 53;
const TIMEOUT_MS = 2000;
const MAX_RUNNING = 512;

export interface ForwarderOptions {
  /** Addresses of the resolvers to ask, in order; read anew for every question. */
  upstreams: () => readonly string[];
  /** Other than 53 in tests. */
  port?: number;
}

/** Asks the resolvers of the host, byte for byte, by the transport that the asker used. */
export class Forwarder {
  readonly #options: ForwarderOptions;
  readonly #clock: Clock;
  #running = 0;

  constructor(options: ForwarderOptions, modules: { clock: Clock }) {
    this.#options = options;
    this.#clock = modules.clock;
  }

  /**
   * The first answer of an upstream, each having 2 s.
   * @throws {HatobaError} unavailable when none answers, resource-exhausted past 512 at once
   */
  async forward(query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer> {
    if (this.#running >= MAX_RUNNING) {
      throw new HatobaError('resource-exhausted', `${MAX_RUNNING} DNS questions are under way`);
    }
    this.#running++;
    try {
      return await this.#forward(query, transport);
    } finally {
      this.#running--;
    }
  }

  async #forward(query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer> {
    const upstreams = this.#options.upstreams();
    const errors: unknown[] = [];
    for (const upstream of upstreams) {
      try {
        return await this.#ask(upstream, query, transport);
      } catch (error) {
        errors.push(error);
      }
    }
    throw new HatobaError('unavailable', `none of ${upstreams.length} DNS resolvers answered`, {
      cause: new AggregateError(errors),
    });
  }

  #ask(upstream: string, query: Buffer, transport: 'udp' | 'tcp'): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      let close: () => void = () => undefined;
      const settle = (end: () => void): void => {
        cancel();
        close();
        end();
      };
      const onAnswer = (answer: Buffer): void => {
        // anything else on this socket is late or forged
        if (isAnswerTo(query, answer)) settle(() => resolve(answer));
      };
      const onError = (error: Error): void => settle(() => reject(error));
      const cancel = this.#clock.setTimer(TIMEOUT_MS, () => {
        onError(new HatobaError('deadline', `DNS resolver ${upstream} did not answer`));
      });
      const port = this.#options.port ?? DNS_PORT;
      const ask = transport === 'udp' ? askByUdp : askByTcp;
      close = ask({ address: upstream, port }, query, onAnswer, onError);
    });
  }
}

type Ask = (
  upstream: { address: string; port: number },
  query: Buffer,
  onAnswer: (answer: Buffer) => void,
  onError: (error: Error) => void,
) => () => void;

/** A socket per question: its random port makes a forged answer hard to place. */
const askByUdp: Ask = ({ address, port }, query, onAnswer, onError) => {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  let isOpen = true;
  socket.on('error', onError);
  socket.on('message', onAnswer);
  socket.connect(port, address, () => {
    if (isOpen) socket.send(query);
  });
  return () => {
    if (isOpen) socket.close();
    isOpen = false;
  };
};

const askByTcp: Ask = ({ address, port }, query, onAnswer, onError) => {
  const socket = connect({ host: address, port });
  const frames = new FrameReader();
  socket.on('error', onError);
  socket.on('close', () => onError(new HatobaError('unavailable', `${address} hung up`)));
  socket.on('data', (chunk) => {
    for (const frame of frames.push(chunk)) onAnswer(frame);
  });
  socket.end(toFrame(query));
  return () => socket.destroy();
};

/** Same id and a response; the question is compared by the client. */
function isAnswerTo(query: Buffer, answer: Buffer): boolean {
  return (
    answer.length >= 12 &&
    answer.readUInt16BE(0) === query.readUInt16BE(0) &&
    ((answer[2] ?? 0) & 0x80) !== 0
  );
}
