import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Answers whatever is said by its name, by TCP (as long as the client likes) and UDP. */
const SERVER = `
const [, name, port] = process.argv;
let missing = 2;
const listening = () => { if (--missing === 0) console.log('ready'); };
require('net').createServer((s) => { s.on('error', () => {}).on('data', () => s.write(name + '\\n')); })
  .listen(Number(port), '0.0.0.0', listening);
const u = require('dgram').createSocket('udp4');
u.on('message', (m, from) => u.send(name + '\\n', from.port, from.address)).bind(Number(port), listening);`;

/** Says what it reads, and prints each answer, the code of an error, or "silence". */
const CLIENT = `
const [, kind, host, port, from] = process.argv;
const localPort = from === '0' ? undefined : Number(from);
let timer;
const print = (line) => { clearTimeout(timer); console.log(line); };
const wait = () => { timer = setTimeout(print, 5000, 'silence'); };
const open = () => console.log('open');
let say;
if (kind === 'tcp') {
  const s = require('net').connect({ host, port: Number(port), localPort }, open);
  s.setNoDelay(true).on('data', (d) => print(String(d).trim())).on('error', (e) => print(e.code));
  s.on('end', () => print('end'));
  say = () => { wait(); s.write('x'); };
} else {
  const u = require('dgram').createSocket({ type: 'udp4', reuseAddr: localPort !== undefined });
  u.on('message', (d) => print(String(d).trim())).on('error', (e) => print(e.code));
  u.bind(localPort, () => u.connect(Number(port), host, open));
  say = () => { wait(); u.send('x'); };
}
require('readline').createInterface({ input: process.stdin }).on('line', say);`;

/** A program in a network namespace that is told what to do, and prints what comes of it. */
class Program {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(netns: string, script: string, ...args: readonly string[]) {
    const command = [`--net=${netns}`, process.execPath, '-e', script, ...args];
    const child = spawn('nsenter', command, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  tell(): void {
    this.#child.stdin?.write('\n');
  }

  /** What it prints next; "gone" when it has ended. */
  async next(): Promise<string> {
    const line = await this.#lines.next();
    return line.done === true ? 'gone' : line.value;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.kill('SIGKILL');
    await exited;
  }
}

/** Conversations between namespaces: servers that go on answering, and clients that stay connected. */
export class Talks {
  readonly #programs: Program[] = [];

  /** @param name what it answers, by TCP and UDP */
  async serve(netns: string, name: string, port = 80): Promise<void> {
    const server = this.#start(netns, SERVER, name, String(port));
    const line = await server.next();
    if (line !== 'ready') throw new Error(`server ${name}: ${line}`);
  }

  /** @param fromPort of the client; any if absent */
  async connect(
    netns: string,
    kind: 'tcp' | 'udp',
    host: string,
    port = 80,
    fromPort = 0,
  ): Promise<Talk> {
    const client = this.#start(netns, CLIENT, kind, host, String(port), String(fromPort));
    const line = await client.next();
    if (line !== 'open') throw new Error(`${kind} to ${host}:${port}: ${line}`);
    return new Talk(client);
  }

  async close(): Promise<void> {
    for (const program of this.#programs.splice(0)) await program.end();
  }

  #start(...args: ConstructorParameters<typeof Program>): Program {
    const program = new Program(...args);
    this.#programs.push(program);
    return program;
  }
}

export class Talk {
  readonly #client: Program;

  constructor(client: Program) {
    this.#client = client;
  }

  /** Who answers; or the code of the error, or "silence" after some seconds. */
  async say(): Promise<string> {
    this.#client.tell();
    return await this.#client.next();
  }

  end(): Promise<void> {
    return this.#client.end();
  }
}
