import type { Readable, Writable } from 'node:stream';
import type { ContainerSpec, Image, Limit } from '../proto/gen/hatoba/v1/types.js';

/**
 * The container engine of one machine: images, containers and volumes under one state folder.
 * It knows nothing of clusters or networks: a container's network is a namespace file its caller
 * made. Containers live on when the engine's process ends, and a new engine on the same folder
 * finds them again.
 */
export interface Engine extends AsyncDisposable {
  readonly images: Images;
  readonly containers: Containers;
}

export interface PullProgress {
  /** Layer digest; empty for the image as a whole. */
  layer: string;
  status: 'waiting' | 'downloading' | 'unpacking' | 'exists' | 'done';
  currentBytes: number;
  totalBytes: number;
}

export interface Images {
  /**
   * Reads a docker-archive or an OCI layout (tar, gzip or not) and unpacks what is not there yet.
   * @throws {HatobaError} invalid-argument naming the entry that is wrong
   */
  load(archive: AsyncIterable<Uint8Array>, options?: { signal?: AbortSignal }): Promise<Image[]>;
  /**
   * Pulls and unpacks an image; at once, and without asking its registry, when all of it is there.
   * Calls for the same reference share one pull.
   * @param reference Docker's grammar: "nginx", "127.0.0.1:5000/web:2", "repo@sha256:…"
   * @param options.refresh asks the registry although the tag is here, since it may have moved
   * @throws {HatobaError} not-found | unavailable | unauthenticated, with image and registry answer
   */
  pull(
    reference: string,
    options?: {
      signal?: AbortSignal;
      onProgress?: (progress: PullProgress) => void;
      refresh?: boolean;
    },
  ): Promise<Image>;
  /** The local image a reference (or an id, or a prefix of one) names. */
  find(reference: string): Promise<Image | undefined>;
  list(): Promise<Image[]>;
}

/** What a container is made from; written to disk as it is. */
export interface ContainerConfig {
  /** Chosen by the caller, unique on this machine; a second create with it is refused. */
  id: string;
  name: string;
  spec: ContainerSpec;
  limits: Limit;
  /** Network namespace file, or "host". */
  netns: string;
  /** Child of the engine's cgroup parent, for example the service's name. */
  cgroupGroup: string;
  dns: { nameservers: readonly string[]; search: readonly string[]; options: readonly string[] };
  /** Own lines of /etc/hosts: address and names. */
  hosts: readonly { address: string; names: readonly string[] }[];
  log: { maxSizeBytes: number; maxFiles: number };
  labels: Readonly<Record<string, string>>;
}

export type HealthStatus = 'none' | 'starting' | 'healthy' | 'unhealthy';

export interface ContainerState {
  config: ContainerConfig;
  status: 'created' | 'running' | 'exited';
  pid: number;
  health: HealthStatus;
  /** Output of the last probe, for messages; at most 4 KiB. */
  healthOutput: string;
  /** Once exited: 0–255, signals as 128 + number. */
  exitCode?: number;
  oomKilled: boolean;
  createdAtMs: number;
  startedAtMs?: number;
  finishedAtMs?: number;
}

/** Delivered after the state it tells of is on disk. */
export interface ContainerEvent {
  id: string;
  type: 'started' | 'exited' | 'health';
  state: ContainerState;
}

export interface ExecOptions {
  command: readonly string[];
  env: readonly string[];
  user: string; // empty = the container's
  dir: string; // empty = the container's
  tty: boolean;
  stdin: boolean;
  size?: { rows: number; columns: number };
}
export interface ExecSession {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Ends at once with a TTY. */
  readonly stderr: Readable;
  resize(size: { rows: number; columns: number }): Promise<void>;
  readonly exitCode: Promise<number>;
  kill(): Promise<void>;
}

export interface LogLine {
  timestampMs: number;
  stream: 'stdout' | 'stderr';
  /** Without the line end. */
  line: Uint8Array;
}

export interface Containers {
  /**
   * Root file system mounted, bundle written, process created and waiting for start.
   * The image must be there (images.find). Undone completely when it throws.
   */
  create(config: ContainerConfig): Promise<ContainerState>;
  start(id: string): Promise<ContainerState>;
  /** Stop signal, then SIGKILL after the grace period; returns when it has exited. */
  stop(id: string, options?: { graceMs?: number }): Promise<ContainerState>;
  kill(id: string, signal: string): Promise<void>;
  /** Removes an exited or created container (`force`: kills it first) with its writable layer and
   *  anonymous volumes. Unknown id: success. */
  remove(id: string, options?: { force?: boolean }): Promise<void>;
  get(id: string): ContainerState | undefined;
  list(): ContainerState[];
  /** Resolves when it has exited, at once if it already has. */
  wait(id: string, signal?: AbortSignal): Promise<ContainerState>;
  /** @returns a function that ends the subscription */
  onEvent(listener: (event: ContainerEvent) => void): () => void;
  exec(id: string, options: ExecOptions): Promise<ExecSession>;
  logs(
    id: string,
    options: { follow: boolean; sinceMs?: number; untilMs?: number; tail?: number },
    signal?: AbortSignal,
  ): AsyncIterable<LogLine>;
}
