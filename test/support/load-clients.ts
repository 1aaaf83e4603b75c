import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** An answer: which replica, and by which address it sees the client ("10.77.0.9:40312"). */
export interface Answer {
  replica: string;
  client: string;
}

/** A connection or a socket, with one question at a time. */
export interface Client {
  /** Own address and port, as far as known. */
  readonly local: string;
  readonly localPort: number;
  ask(): Promise<Answer>;
  close(): void;
}

/** Opens a client to "host:port", from a port of its own (0: any). @throws when there is no connection in time */
export type OpenClient = (target: string, localPort: number) => Promise<Client>;

export interface ClientOptions {
  timeoutMs: number;
  nameserver: string | undefined;
}

const REQUEST = 'GET / HTTP/1.1\r\nHost: answer\r\n\r\n';

/** HTTP on one TCP connection, which stays open. */
export async function openHttp(
  target: string,
  options: ClientOptions,
  localPort: number,
): Promise<Client> {
  const { host, port } = await resolveTarget(target, options);
  const socket = connect({ host, port, localPort, noDelay: true });
  try {
    await inTime(once(socket, 'connect'), options.timeoutMs, 'connecting');
    return new HttpClient(socket, options.timeoutMs);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

class HttpClient implements Client {
  readonly local: string;
  readonly localPort: number;
  readonly #socket: Socket;
  readonly #timeoutMs: number;
  #text = '';
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;
  #ended: Error | undefined;

  constructor(socket: Socket, timeoutMs: number) {
    this.local = `${socket.localAddress ?? ''}:${socket.localPort ?? 0}`;
    this.localPort = socket.localPort ?? 0;
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    socket.on('data', (chunk: Buffer) => this.#onText(chunk.toString('latin1')));
    socket.on('error', (error) => this.#end(error));
    socket.on('end', () => this.#end(new Error('the server closed the connection')));
  }

  async ask(): Promise<Answer> {
    if (this.#ended !== undefined) throw this.#ended;
    const answer = new Promise<Answer>((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    this.#socket.write(REQUEST);
    return await inTime(answer, this.#timeoutMs, 'waiting for an answer');
  }

  close(): void {
    this.#socket.end();
    this.#socket.destroySoon();
  }

  #onText(text: string): void {
    this.#text += text;
    const [head, body] = this.#text.split('\r\n\r\n', 2);
    const length = Number(/Content-Length: (\d+)/.exec(head ?? '')?.[1]);
    if (body === undefined || !(body.length >= length)) return;
    this.#text = '';
    if (head?.startsWith('HTTP/1.1 200') !== true) {
      return this.#end(new Error(`strange answer ${JSON.stringify(head)}`));
    }
    const [replica = '', client = ''] = body.trim().split(' ');
    this.#waiting?.resolve({ replica, client });
  }

  #end(error: Error): void {
    this.#ended ??= error;
    this.#waiting?.reject(error);
  }
}

/** Datagrams from one socket; each question carries a number of its own. */
export async function openDatagrams(
  target: string,
  options: ClientOptions,
  localPort: number,
): Promise<Client> {
  const { host, port } = await resolveTarget(target, options);
  const socket = createSocket('udp4');
  socket.bind(localPort, () => socket.connect(port, host));
  await inTime(once(socket, 'connect'), options.timeoutMs, 'opening a socket');
  return new DatagramClient(socket, options.timeoutMs);
}

class DatagramClient implements Client {
  readonly local: string;
  readonly localPort: number;
  readonly #socket: DatagramSocket;
  readonly #timeoutMs: number;
  #lastId = 0;
  #settle: ((text: string | Error) => void) | undefined;

  constructor(socket: DatagramSocket, timeoutMs: number) {
    const { address, port } = socket.address();
    this.local = `${address}:${port}`;
    this.localPort = port;
    this.#socket = socket;
    this.#timeoutMs = timeoutMs;
    socket.on('message', (message) => this.#settle?.(message.toString()));
    socket.on('error', (error) => this.#settle?.(error));
  }

  async ask(): Promise<Answer> {
    const id = `q${++this.#lastId}`;
    const answer = new Promise<Answer>((resolve, reject) => {
      this.#settle = (text) => {
        if (text instanceof Error) return reject(text);
        const [of, replica = '', client = ''] = text.split(' ');
        if (of === id) resolve({ replica, client }); // an earlier one is late: it has failed already
      };
    });
    this.#socket.send(id);
    return await inTime(answer, this.#timeoutMs, 'waiting for an answer');
  }

  close(): void {
    this.#socket.close();
  }
}

async function resolveTarget(
  target: string,
  options: ClientOptions,
): Promise<{ host: string; port: number }> {
  const [name = '', port = ''] = target.split(':');
  if (options.nameserver === undefined) return { host: name, port: Number(port) };
  const resolver = new Resolver({ timeout: options.timeoutMs, tries: 1 });
  resolver.setServers([options.nameserver]);
  const [host] = await resolver.resolve4(name);
  if (host === undefined) throw new Error(`${name} has no address`);
  return { host, port: Number(port) };
}

async function inTime<T>(promise: Promise<T>, timeoutMs: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what}: nothing within ${timeoutMs} ms`)),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
