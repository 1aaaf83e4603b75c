import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { errnoOf, HatobaError } from '../../common/errors.js';
import type { OciSeccomp } from '../core/oci-spec.js';
import {
  parseSeccompProfile,
  resolveSeccomp,
  tightenProfile,
  type SeccompProfile,
  type SeccompTarget,
} from '../core/seccomp.js';

const DEFAULT_PROFILE = '/usr/share/containers/seccomp.json';

export type SeccompProgram = { rules: OciSeccomp; key: string } | { bpf: string };

/** A program on disk follows its own SHA-256: one torn by a power cut would filter nothing. */
const CHECKSUM_BYTES = 32;

/**
 * Seccomp programs of containers. libseccomp needs 12 ms to compile a profile, each time; so the
 * program crun made for the first container with the same rules is kept and handed to the next.
 */
export class SeccompCache {
  readonly #dir: string;
  readonly #target: Omit<SeccompTarget, 'capabilities'>;
  readonly #programs = new Map<string, string>();
  readonly #resolved = new Map<string, { rules: OciSeccomp; key: string }>();
  #defaultProfile: SeccompProfile | undefined;

  /** @param dir folder of its own; a program is named by the hash of its rules */
  constructor(dir: string, target: Omit<SeccompTarget, 'capabilities'>) {
    this.#dir = dir;
    this.#target = target;
  }

  /**
   * What a container's bundle needs.
   * @param request.profile "" for the default, "unconfined", or a profile as JSON
   * @returns undefined for no filter at all
   * @throws {HatobaError} invalid-argument for a profile that makes no sense; failed-precondition
   *   without the default profile
   */
  find(request: {
    profile: string;
    privileged: boolean;
    capabilities: readonly string[];
  }): SeccompProgram | undefined {
    const { profile, privileged, capabilities } = request;
    if (profile === 'unconfined' || (privileged && profile === '')) return undefined;
    const resolved = this.#resolve(profile, capabilities);
    const bpf = this.#programs.get(resolved.key) ?? this.#read(resolved.key);
    return bpf === undefined ? resolved : { bpf };
  }

  /** Keeps the program that crun compiled, for the next container. */
  keep(key: string, crunDir: string): void {
    if (this.#programs.has(key)) return;
    let program: Buffer;
    try {
      program = readFileSync(`${crunDir}/seccomp.bpf`);
    } catch (error) {
      // Another crun may keep it elsewhere; then each container compiles its own.
      if (errnoOf(error) === 'ENOENT') return;
      throw error;
    }
    if (program.length === 0) return;
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    const fresh = `${this.#file(key)}.new`;
    writeFileSync(fresh, Buffer.concat([checksum(program), program]), { mode: 0o600 });
    renameSync(fresh, this.#file(key));
    this.#programs.set(key, program.toString('base64'));
  }

  #resolve(text: string, capabilities: readonly string[]): { rules: OciSeccomp; key: string } {
    const request = `${capabilities.join()}\n${text}`;
    const known = this.#resolved.get(request);
    if (known !== undefined) return known;
    const profile = text === '' ? this.#default() : parseSeccompProfile(text, 'container');
    const rules = resolveSeccomp(profile, { ...this.#target, capabilities });
    const key = createHash('sha256').update(JSON.stringify(rules)).digest('hex');
    const resolved = { rules, key };
    this.#resolved.set(request, resolved);
    return resolved;
  }

  #default(): SeccompProfile {
    if (this.#defaultProfile !== undefined) return this.#defaultProfile;
    if (!existsSync(DEFAULT_PROFILE)) {
      throw new HatobaError(
        'failed-precondition',
        `the default seccomp profile ${DEFAULT_PROFILE} is missing; install the package golang-github-containers-common`,
      );
    }
    const text = readFileSync(DEFAULT_PROFILE, 'utf8');
    this.#defaultProfile = tightenProfile(parseSeccompProfile(text, DEFAULT_PROFILE));
    return this.#defaultProfile;
  }

  #read(key: string): string | undefined {
    try {
      const file = readFileSync(this.#file(key));
      const program = file.subarray(CHECKSUM_BYTES);
      if (program.length === 0 || !checksum(program).equals(file.subarray(0, CHECKSUM_BYTES))) {
        return undefined;
      }
      const bpf = program.toString('base64');
      this.#programs.set(key, bpf);
      return bpf;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  #file(key: string): string {
    return `${this.#dir}/${key}.bpf`;
  }
}

function checksum(program: Uint8Array): Buffer {
  return createHash('sha256').update(program).digest();
}
