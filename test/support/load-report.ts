/** What a load generator is to do, and what it tells; both travel as JSON between processes. */

export interface LoadOptions {
  /** Where to, in turn: "10.77.0.1:8080", or "web:80" with a nameserver. */
  targets: readonly string[];
  /** Asked for every new connection to a name, without a cache. */
  nameserver?: string;
  /** Workers that open a connection for each request. */
  connectionWorkers?: number;
  /** Workers that keep a connection for a while, with a request every few milliseconds. */
  keepAliveWorkers?: number;
  /** Workers that send datagrams, each from one socket. */
  datagramWorkers?: number;
  /** Workers that send every datagram from a new socket. */
  socketWorkers?: number;
  /** How long a connection is kept: between half of it and all. */
  keepMs?: number;
  /** Between two requests of a worker. */
  pauseMs?: number;
  /** An answer that takes longer has failed. */
  timeoutMs?: number;
  /** Ends by itself after so many requests; else when it is told to. */
  requests?: number;
  /** An answer that names another address, or port, than the client's own has failed. */
  checks?: 'address' | 'address and port';
  /** Connections and sockets have this port of the client's and the next ones, each used once. */
  fromPort?: number;
  /** Failures are expected, and only counted. */
  isQuiet?: boolean;
}

export type LoadKind = 'connection' | 'keep-alive' | 'datagram' | 'socket';

export interface LoadFailure {
  kind: LoadKind;
  target: string;
  /** Epoch. */
  atMs: number;
  /** Age of the connection or socket, and the answers that it had before. */
  ageMs: number;
  answers: number;
  localPort: number;
  reason: string;
}

export interface LoadReport {
  /** Requests that were sent, answered or not. */
  requests: number;
  connections: number;
  /** Answers by replica. */
  answers: Record<string, number>;
  /** Connections (and sockets) by replica: what a load balancer decides upon. */
  balanced: Record<string, number>;
  /** Connections (and sockets) by the address that the replicas see. */
  seenFrom: Record<string, number>;
  failures: LoadFailure[];
  /** The slowest answer. */
  slowestMs: number;
}

export function emptyReport(): LoadReport {
  const counts = { answers: {}, balanced: {}, seenFrom: {} };
  return { requests: 0, connections: 0, ...counts, failures: [], slowestMs: 0 };
}

/** Several reports as one. */
export function addReports(reports: readonly LoadReport[]): LoadReport {
  const sum = emptyReport();
  for (const report of reports) {
    sum.requests += report.requests;
    sum.connections += report.connections;
    sum.failures.push(...report.failures);
    sum.slowestMs = Math.max(sum.slowestMs, report.slowestMs);
    for (const part of ['answers', 'balanced', 'seenFrom'] as const) {
      for (const [name, count] of Object.entries(report[part])) countIn(sum[part], name, count);
    }
  }
  return sum;
}

export function countIn(counts: Record<string, number>, name: string, by = 1): void {
  counts[name] = (counts[name] ?? 0) + by;
}

/** "16:02:11.123 keep-alive 10.77.0.1:8080 from port 40312, 812 ms old, 96 answers: ECONNRESET". */
export function failureText(failure: LoadFailure): string {
  const { kind, target, atMs, ageMs, answers, localPort, reason } = failure;
  const time = new Date(atMs).toISOString().slice(11, 23);
  return `${time} ${kind} ${target} from port ${localPort}, ${Math.round(ageMs)} ms old, ${answers} answers: ${reason}`;
}

/** The report in a few lines, for people: all figures, and the first failures. */
export function reportText(report: LoadReport, most = 20): string {
  const { requests, connections, failures, slowestMs, balanced } = report;
  const shares = Object.values(balanced).sort((a, b) => a - b);
  return [
    `${requests} requests on ${connections} connections, ${failures.length} failed, slowest ${Math.round(slowestMs)} ms, ${shares.length} replicas (${sharesText(shares)})`,
    ...failures.slice(0, most).map(failureText),
    ...(failures.length > most ? [`… and ${failures.length - most} more failures`] : []),
  ].join('\n');
}

function sharesText(shares: readonly number[]): string {
  return shares.length <= 12 ? shares.join(' ') : `${shares[0] ?? 0} to ${shares.at(-1) ?? 0} each`;
}
