import type { Readable, Writable } from 'node:stream';
import type {
  ContainerProcess,
  ContainerStats,
  PathChange,
  PathStat,
} from '../../proto/gen/hatoba/v1/engine.js';
import type { ContainerSpec, Limit } from '../../proto/gen/hatoba/v1/types.js';
import type { Pruned } from './images.js';

export type { ContainerProcess, ContainerStats, PathChange, PathStat };

export type RestartPolicyName = 'no' | 'always' | 'unless-stopped' | 'on-failure';
export interface RestartRule {
  name: RestartPolicyName;
  /** Of on-failure; 0 = no limit. */
  maximumRetryCount: number;
}

/** What a container is made from; written to disk as it is. */
export interface ContainerConfig {
  /** Chosen by the caller, unique on this machine; a second create with it is refused. */
  id: string;
  /** Unique on this machine too. */
  name: string;
  spec: ContainerSpec;
  limits: Limit;
  /** Network namespace file, "host", or "container:<id>" for that of a running container. */
  netns: string;
  /** Child of the engine's cgroup parent, for example the service's name. */
  cgroupGroup: string;
  dns: { nameservers: readonly string[]; search: readonly string[]; options: readonly string[] };
  /** Own lines of /etc/hosts: address and names. */
  hosts: readonly { address: string; names: readonly string[] }[];
  /** none: its output is not kept, and logs() refuses. A size of 0 lets the log grow. */
  log: { driver?: 'none'; maxSizeBytes: number; maxFiles: number };
  labels: Readonly<Record<string, string>>;
  /** Absent: never started again by the engine. */
  restart?: RestartRule;
  /** Removed as soon as it has ended. */
  autoRemove?: boolean;
  /** Kept for the caller; the engine does not look at it. */
  annotations?: Readonly<Record<string, string>>;
}

export type HealthStatus = 'none' | 'starting' | 'healthy' | 'unhealthy';
export type ContainerRunStatus = 'created' | 'running' | 'paused' | 'restarting' | 'exited';

export interface ContainerState {
  config: ContainerConfig;
  status: ContainerRunStatus;
  pid: number;
  health: HealthStatus;
  /** Output of the last probe, for messages; at most 4 KiB. */
  healthOutput: string;
  /**
   * Once exited: 0–255, signals as 128 + number; 255 when nobody saw the end (a reboot, a conmon that
   * was killed). After a start that failed: 127 command not found, 126 not executable, 128 all else.
   */
  exitCode?: number;
  /** Whether the kernel killed any process of its present or last run for want of memory, its
   *  first or a child, as in Docker. */
  oomKilled: boolean;
  createdAtMs: number;
  startedAtMs?: number;
  finishedAtMs?: number;
  /** Why the last start failed, or the next one would; empty when it did not. */
  error: string;
  /** Starts by the restart rule since the last start by hand. */
  restartCount: number;
  imageId: string;
  cgroupPath: string;
  logPath: string;
  /** What it runs: the image's and its own words joined. */
  command: readonly string[];
  mounts: readonly ContainerMount[];
}

export interface ContainerMount {
  type: 'bind' | 'volume' | 'tmpfs';
  /** Of a volume. */
  name: string;
  source: string;
  destination: string;
  readOnly: boolean;
  propagation: string;
}

/** Delivered after the state it tells of is on disk. */
export interface ContainerEvent {
  id: string;
  type:
    | 'created'
    | 'started'
    | 'exited'
    | 'health'
    | 'paused'
    | 'unpaused'
    | 'renamed'
    | 'updated'
    | 'removed';
  state: ContainerState;
}

export interface TerminalSize {
  rows: number;
  columns: number;
}

export interface ExecOptions {
  command: readonly string[];
  env: readonly string[];
  user: string; // empty = the container's
  dir: string; // empty = the container's
  tty: boolean;
  stdin: boolean;
  size?: TerminalSize;
  /** With all capabilities the machine has. */
  privileged?: boolean;
  /** Nobody is there for its input and output, and it runs on when the engine ends. */
  detach?: boolean;
}
export interface ExecSession {
  /** With a TTY, its end is typed as Ctrl-D. */
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Ends at once with a TTY. */
  readonly stderr: Readable;
  resize(size: TerminalSize): Promise<void>;
  /** 127 when the command was not found, 126 when it could not be run. */
  readonly exitCode: Promise<number>;
  kill(): Promise<void>;
}

export interface AttachOptions {
  stdin: boolean;
  size?: TerminalSize;
  /**
   * The container waits while stdout or stderr is not read, as the writer of a pipe does. Else one
   * who leaves 8 MiB unread is cut off: the streams fail with `resource-exhausted`.
   */
  holdsBack?: boolean;
  /** Of a container that does not run: its next run, from its first byte on. */
  nextRun?: boolean;
}

/** The streams of a container's own process, shared by all who are attached. */
export interface AttachSession {
  /**
   * Lost unless the container has an open stdin. Its end is passed on where the container was made
   * so (stdinOnce, without a TTY); else the container's stdin stays open.
   */
  readonly stdin: Writable;
  /** To be read, both of them. */
  readonly stdout: Readable;
  /** Ends at once with a TTY. */
  readonly stderr: Readable;
  resize(size: TerminalSize): Promise<void>;
  /** Leaves the container alone from now on; it runs on. */
  detach(): void;
}

export interface LogLine {
  timestampMs: number;
  stream: 'stdout' | 'stderr';
  /** Without the line end. */
  line: Uint8Array;
}

export interface Containers {
  /**
   * Root file system mounted, bundle written, process created and waiting for start. Where there is
   * no command that could be run, `error` says so, and the start fails unless it has come by then.
   * The image must be there (images.find). Undone completely when it throws.
   */
  create(config: ContainerConfig): Promise<ContainerState>;
  /**
   * Starts a created container, or one that has exited once more: the same writable layer, volumes
   * and log, a new process. A running one is left as it is.
   */
  start(id: string): Promise<ContainerState>;
  /**
   * Stop signal, then SIGKILL after the grace period; returns when it has exited. It is not started
   * again by its restart rule.
   */
  stop(id: string, options?: { graceMs?: number; signal?: string }): Promise<ContainerState>;
  restart(id: string, options?: { graceMs?: number; signal?: string }): Promise<ContainerState>;
  kill(id: string, signal: string): Promise<void>;
  /** Freezes all its processes. @throws {HatobaError} failed-precondition when it does not run */
  pause(id: string): Promise<ContainerState>;
  unpause(id: string): Promise<ContainerState>;
  /** @throws {HatobaError} already-exists; invalid-argument */
  rename(id: string, name: string): Promise<ContainerState>;
  /** Changes limits of a container, running or not, and its restart rule. */
  update(id: string, change: { limits?: Limit; restart?: RestartRule }): Promise<ContainerState>;
  /**
   * Bounds what all containers of a cgroup group use together (config.cgroupGroup), those that are
   * there and those to come, until other limits are set; limits that say nothing end it. Kept when
   * the engine ends.
   * @throws {HatobaError} invalid-argument; failed-precondition for what the kernel refuses
   */
  setGroupLimits(group: string, limits: Limit): Promise<void>;
  /** Removes an exited or created container (`force`: kills it first) with its writable layer and
   *  anonymous volumes. Unknown id: success. */
  remove(id: string, options?: { force?: boolean; keepVolumes?: boolean }): Promise<void>;
  /** Removes those that have exited or were never started. */
  prune(options: { olderThanMs?: number; labels?: Record<string, string> }): Promise<Pruned>;
  get(id: string): ContainerState | undefined;
  /**
   * By id, name, or the unique start of an id.
   * @throws {HatobaError} not-found; invalid-argument when several ids start so
   */
  find(nameOrId: string): ContainerState;
  list(): ContainerState[];
  /** Resolves when it has exited, at once if it already has; a restart by its rule is no exit. */
  wait(id: string, signal?: AbortSignal): Promise<ContainerState>;
  /** @returns a function that ends the subscription */
  onEvent(listener: (event: ContainerEvent) => void): () => void;
  exec(id: string, options: ExecOptions): Promise<ExecSession>;
  /**
   * Of a created, running or paused container. Output from now on; ends with the container's run.
   * @throws {HatobaError} failed-precondition when it does not run
   */
  attach(id: string, options: AttachOptions): Promise<AttachSession>;
  logs(
    id: string,
    options: { follow: boolean; sinceMs?: number; untilMs?: number; tail?: number },
    signal?: AbortSignal,
  ): AsyncIterable<LogLine>;
  /** One sample; the caller derives rates from two. Undefined for one that does not run. */
  stats(id: string): Promise<ContainerStats | undefined>;
  /** Its processes. */
  top(id: string): Promise<ContainerProcess[]>;
  /** Bytes of its writable layer on disk. */
  sizeRw(id: string): Promise<number>;
  /**
   * A tar of a path in the container, running or not; volumes and binds are seen as it sees them.
   * Links are followed as the container would, and never lead out of its root.
   */
  copyFrom(
    id: string,
    path: string,
    options: { followLink: boolean; signal?: AbortSignal },
  ): Promise<{ stat: PathStat; tar: AsyncIterable<Uint8Array> }>;
  /** Unpacks a tar below a directory of the container. */
  copyTo(
    id: string,
    path: string,
    tar: AsyncIterable<Uint8Array>,
    options: { copyOwners: boolean; signal?: AbortSignal },
  ): Promise<void>;
  /** A tar of its root file system, without what is mounted into it. */
  export(id: string, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** What differs from its image. */
  diff(id: string): Promise<PathChange[]>;
}
