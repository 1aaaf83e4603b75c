import type { HealthConfig } from '../../proto/gen/hatoba/v1/types.js';

/** What an image says of the containers made from it (the OCI image configuration, checked). */
export interface ImageConfig {
  readonly architecture: string;
  readonly os: string;
  /** Empty when the image gives none; the same holds for every list and text here. */
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** "NAME=value" */
  readonly env: readonly string[];
  readonly workingDir: string;
  /** "uid[:gid]" or names of the image's own passwd file. */
  readonly user: string;
  /** "80/tcp", sorted. */
  readonly exposedPorts: readonly string[];
  /** Paths that become anonymous volumes, sorted. */
  readonly volumes: readonly string[];
  /** "SIGQUIT", "3" or empty. */
  readonly stopSignal: string;
  readonly healthcheck: HealthConfig | undefined;
  readonly labels: Readonly<Record<string, string>>;
}
