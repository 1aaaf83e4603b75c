import { execFile, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const DOCKERD = '/usr/sbin/dockerd';
const DOCKER = '/usr/bin/docker';

/** Debian's Docker on a socket and folders of its own, for measuring beside it. */
export class DockerDaemon {
  /** Of its socket, data and everything else. */
  get folder(): string {
    return this.#folder;
  }
  readonly #folder: string;
  readonly #process: ChildProcess;

  private constructor(folder: string, process: ChildProcess) {
    this.#folder = folder;
    this.#process = process;
  }

  /** @returns undefined where docker.io is not installed (apt-get install docker.io iptables) */
  static async start(): Promise<DockerDaemon | undefined> {
    if (!existsSync(DOCKERD) || !existsSync(DOCKER)) return undefined;
    const folder = await mkdtemp(join(tmpdir(), 'ht-docker-'));
    const args = [
      ...['--host', `unix://${folder}/docker.sock`, '--pidfile', `${folder}/docker.pid`],
      ...['--data-root', `${folder}/data`, '--exec-root', `${folder}/run`],
      ...['--storage-driver', 'overlay2', '--log-level', 'error'],
    ];
    const child = spawn(DOCKERD, args, { stdio: 'ignore' });
    const daemon = new DockerDaemon(folder, child);
    for (let i = 0; i < 300; i++) {
      if (
        await daemon.docker('info').then(
          () => true,
          () => false,
        )
      )
        return daemon;
      if (child.exitCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    await daemon.stop();
    throw new Error('dockerd did not start');
  }

  /** Runs the docker client against this daemon. @returns its stdout */
  docker(...args: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const env = {
        PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
        DOCKER_HOST: `unix://${this.#folder}/docker.sock`,
        HOME: this.#folder,
      };
      execFile(DOCKER, args, { env, maxBuffer: 64 * 1024 * 1024 }, (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`docker ${args.join(' ')}: ${stderr}`));
      });
    });
  }

  /** Ends all containers and the daemon, and removes its folders. */
  async stop(): Promise<void> {
    const ids = await this.docker('ps', '--all', '--quiet').catch(() => '');
    const list = ids.split('\n').filter((id) => id !== '');
    if (list.length > 0) await this.docker('rm', '--force', ...list).catch(() => undefined);
    const exited = new Promise((resolve) => this.#process.once('exit', resolve));
    if (this.#process.exitCode === null) {
      this.#process.kill('SIGTERM');
      await exited;
    }
    await rm(this.#folder, { recursive: true, force: true, maxRetries: 5 });
  }
}
