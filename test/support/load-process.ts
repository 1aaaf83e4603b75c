/**
 * A load generator, as a process in any network namespace. Takes LoadOptions as JSON, prints "ready",
 * each failure as it happens on stderr, and at its end (SIGTERM, end of stdin, or all requests done)
 * the LoadReport as JSON. Nothing is ever retried.
 *   node --import tsx test/support/load-process.ts '{"targets": ["10.77.0.1:8080"], "connectionWorkers": 4}'
 */
import {
  openDatagrams,
  openHttp,
  type Answer,
  type Client,
  type ClientOptions,
  type OpenClient,
} from './load-clients.js';
import {
  countIn,
  emptyReport,
  failureText,
  type LoadKind,
  type LoadOptions,
} from './load-report.js';

const options = JSON.parse(process.argv[2] ?? '{}') as LoadOptions;
const { targets, keepMs = 2000, pauseMs = 5, timeoutMs = 8000 } = options;
const { checks, fromPort, isQuiet } = options;
const most = options.requests ?? Infinity;
const report = emptyReport();
let isOver = false;
let turn = 0;

/** What one connection or socket has lived through. */
interface Life {
  kind: LoadKind;
  target: string;
  openedAtMs: number;
  requests: number;
  answers: number;
  client: Client | undefined;
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const isDone = (): boolean => isOver || report.requests >= most;

/** Asks once. @returns whether it was answered as it should be */
async function ask(life: Life, client: Client): Promise<void> {
  report.requests++;
  life.requests++;
  const startedAtMs = performance.now();
  const answer = await client.ask();
  report.slowestMs = Math.max(report.slowestMs, performance.now() - startedAtMs);
  if (life.answers++ === 0) {
    countIn(report.balanced, answer.replica);
    countIn(report.seenFrom, bareAddress(answer.client));
  }
  countIn(report.answers, answer.replica);
  checkAddress(answer, client);
}

function checkAddress({ replica, client: seen }: Answer, { local }: Client): void {
  const isRight = checks === 'address' ? bareAddress(seen) === bareAddress(local) : seen === local;
  if (checks === undefined || isRight) return;
  throw new Error(`${replica} sees ${seen}, but the client is ${local}`);
}

/** "10.77.0.9:40312" → "10.77.0.9". */
function bareAddress(address: string): string {
  return address.split(':')[0] ?? '';
}

function fail(life: Life, error: unknown): void {
  const failure = {
    kind: life.kind,
    target: life.target,
    atMs: Date.now(),
    ageMs: performance.now() - life.openedAtMs,
    answers: life.answers,
    localPort: life.client?.localPort ?? 0,
    reason: error instanceof Error ? error.message : String(error),
  };
  report.failures.push(failure);
  if (isQuiet !== true) process.stderr.write(`${failureText(failure)}\n`);
}

/** One connection or socket: opened, asked while `goesOn`, and closed by the client. */
async function live(kind: LoadKind, open: OpenClient, goesOn: (ageMs: number) => boolean) {
  const port = fromPort === undefined ? 0 : fromPort + turn;
  const target = targets[turn++ % targets.length] ?? '';
  const life: Life = {
    kind,
    target,
    openedAtMs: performance.now(),
    requests: 0,
    answers: 0,
    client: undefined,
  };
  try {
    report.connections++;
    life.client = await open(target, port);
    do {
      await ask(life, life.client);
      await pause(pauseMs);
    } while (!isDone() && goesOn(performance.now() - life.openedAtMs));
  } catch (error) {
    if (life.requests === 0) report.requests++; // one that could not be sent
    fail(life, error);
    await pause(pauseMs);
  } finally {
    life.client?.close();
  }
}

async function worker(kind: LoadKind, open: OpenClient): Promise<void> {
  while (!isDone()) {
    const keptMs = keepMs * (0.5 + Math.random() / 2);
    const isKept = kind === 'keep-alive' || kind === 'datagram';
    await live(kind, open, (ageMs) => isKept && ageMs < keptMs);
  }
}

const clientOptions: ClientOptions = { timeoutMs, nameserver: options.nameserver };
const http: OpenClient = (target, port) => openHttp(target, clientOptions, port);
const datagrams: OpenClient = (target, port) => openDatagrams(target, clientOptions, port);
const kinds: readonly [LoadKind, number | undefined, OpenClient][] = [
  ['connection', options.connectionWorkers, http],
  ['keep-alive', options.keepAliveWorkers, http],
  ['datagram', options.datagramWorkers, datagrams],
  ['socket', options.socketWorkers, datagrams],
];
const stop = (): void => {
  isOver = true;
};
process.on('SIGTERM', stop);
process.stdin.on('end', stop).resume();
process.stdout.write('ready\n');
await Promise.all(
  kinds.flatMap(([kind, count = 0, open]) =>
    Array.from({ length: count }, () => worker(kind, open)),
  ),
);
process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit());
