/**
 * Asks a DNS server as fast as it answers, from several sockets with several questions under way on
 * each, and prints what came of it as JSON. Run as a process of its own:
 *   tsx bench/support/dns-load.ts '{"server":"10.0.0.1","transport":"udp","questions":[…],"count":1000}'
 */
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { encode, type RecordType } from 'dns-packet';
import { FrameReader, toFrame } from '../../overlay-net/dns/frames.js';

export interface DnsLoad {
  server: string;
  port?: number;
  transport: 'udp' | 'tcp';
  /** Asked in turn. An answer must have at least `answers` records, and no error. */
  questions: readonly { name: string; type: RecordType; answers: number }[];
  /** Of questions, all in all. */
  count: number;
}

export interface DnsLoadResult {
  answered: number;
  /** An error, or fewer records than expected. */
  wrong: number;
  /** Without an answer within a second; by UDP they are asked again. */
  lost: number;
}

const SOCKETS = 8;
const WINDOW = 16;
const LOST_MS = 1000;
/** When nothing has come on a socket so many times, nobody asks any more. */
const MAX_SILENCES = 5;

const load = JSON.parse(process.argv[2] ?? '{}') as DnsLoad;
const { server, port = 53, transport } = load;
const messages = load.questions.map(({ name, type }) =>
  encode({ type: 'query', id: 0, flags: 0x100, questions: [{ name, type }] }),
);
const result: DnsLoadResult = { answered: 0, wrong: 0, lost: 0 };
let asked = 0;

/** The next question, under an id that says which one it is. */
function nextQuestion(): Buffer | undefined {
  if (asked >= load.count) return undefined;
  const message = Buffer.from(messages[asked % messages.length] ?? '');
  message.writeUInt16BE(asked % messages.length, 0);
  asked++;
  return message;
}

function take(answer: Buffer): void {
  result.answered++;
  const expected = load.questions[answer.readUInt16BE(0)]?.answers ?? 0;
  const isError = ((answer[3] ?? 0) & 15) !== 0;
  if (isError || answer.readUInt16BE(6) < expected) result.wrong++;
}

/** Keeps a window of questions under way; resolves when there are no more. */
function pump(send: (message: Buffer) => void): {
  onAnswer: (m: Buffer) => void;
  done: Promise<void>;
} {
  let open = 0;
  let silences = 0;
  let finish: () => void = () => undefined;
  let lastAnswerMs = performance.now();
  const done = new Promise<void>((resolve) => (finish = resolve));
  const fill = (): void => {
    while (open < WINDOW) {
      const message = nextQuestion();
      if (message === undefined) break;
      open++;
      send(message);
    }
    if (open > 0) return;
    clearInterval(watch);
    finish();
  };
  const watch = setInterval(() => {
    if (performance.now() - lastAnswerMs < LOST_MS) return;
    result.lost += open;
    asked = ++silences < MAX_SILENCES ? asked - open : load.count;
    open = 0;
    fill();
  }, LOST_MS);
  const onAnswer = (answer: Buffer): void => {
    lastAnswerMs = performance.now();
    if (open === 0) return;
    open--;
    take(answer);
    fill();
  };
  setImmediate(fill);
  return { onAnswer, done };
}

async function overUdp(): Promise<void> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.connect(port, server, resolve));
  const { onAnswer, done } = pump((message) => socket.send(message));
  socket.on('message', onAnswer);
  await done;
  socket.close();
}

async function overTcp(): Promise<void> {
  const socket = connect(port, server);
  const frames = new FrameReader();
  const { onAnswer, done } = pump((message) => socket.write(toFrame(message)));
  socket.on('data', (chunk) => frames.push(chunk).forEach(onAnswer));
  await done;
  socket.destroy();
}

await Promise.all(Array.from({ length: SOCKETS }, transport === 'udp' ? overUdp : overTcp));
process.stdout.write(JSON.stringify(result));
