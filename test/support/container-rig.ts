import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  existsSync,
} from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '../../common/adapters/system-clock.js';
import { systemRandom } from '../../common/adapters/system-random.js';
import { silentLogger } from '../../common/logger.js';
import { openKernel } from '../../linux/kernel.js';
import type { Kernel } from '../../linux/ports.js';
import { ContainerSpec, Image, Limit, type DeepPartial } from '../../proto/gen/hatoba/v1/types.js';
import { detectCgroups } from '../../runtime/cgroup/cgroup-fs.js';
import { openContainers } from '../../runtime/container/open-containers.js';
import type { ImageConfig } from '../../runtime/core/image-config.js';
import type { LayerId } from '../../runtime/core/layer-chain.js';
import { EventBus } from '../../runtime/events/event-bus.js';
import type {
  ContainerConfig,
  Containers,
  ExecOptions,
  EngineVolumes,
} from '../../runtime/engine.js';
import { openOverlaySnapshotter } from '../../runtime/snapshot/overlay.js';
import { cleanUp } from './clean-up.js';
import { eventually } from './eventually.js';
import { powerCut } from './power-cut.js';

const BUSYBOX = '/bin/busybox';
const APPLETS =
  'sh cat chmod cp dd echo env false grep head hostname id ip ls mkdir mount nc ps pwd readlink rm sed seq sleep stat setsid stty sync tail test touch tr true tty umount wc yes';

/** The images of a rig: "box" is busybox on two layers; the others are the same with more said. */
const IMAGES: Readonly<Record<string, Partial<ImageConfig>>> = {
  box: {},
  'box-volume': { volumes: ['/data'] },
  'box-web': {
    entrypoint: ['/bin/sh', '-c'],
    cmd: ['pwd; id -u'],
    user: 'web',
    workingDir: '/srv/new',
  },
  'box-quit': { stopSignal: 'SIGQUIT' },
};

/** A container engine of its own on real crun, with a kernel and images made on the spot. */
export interface ContainerRig {
  readonly kernel: Kernel;
  readonly events: EventBus;
  readonly hooks: RigHooks;
  readonly containers: Containers;
  readonly volumes: EngineVolumes;
  readonly root: string;
  readonly stateDir: string;
  readonly runDir: string;
  readonly cgroupParent: string;
  /** Ends this engine and opens another on the same folders. */
  reopen(): Promise<void>;
  /** Ends this engine, all its containers and mounts, and opens another as after a reboot. */
  reboot(): Promise<void>;
  /** Leaves the folders without an engine while `work` runs. */
  whileClosed(work: () => Promise<void>): Promise<void>;
  /** A new network namespace; gone with the rig. */
  netns(): Promise<string>;
  /** Ends this engine and leaves everything as it is, for another rig on the same folders. */
  abandon(): Promise<void>;
  /** Removes everything. @throws what would have been left, in words */
  close(): Promise<void>;
}

/** What a test may put in place of what the engine's owner does. */
export interface RigHooks {
  beforeRestart: (config: ContainerConfig) => Promise<void>;
}

export interface RigFolders {
  root: string;
  cgroupParent: string;
}

/**
 * @param onStep called before and after everything the engine asks of the kernel and of its stores
 */
export async function openContainerRig(
  folders?: RigFolders,
  onStep: () => void = () => undefined,
): Promise<ContainerRig> {
  const root = folders?.root ?? mkdtempSync('/var/tmp/ht-runtime-');
  const cgroupParent =
    folders?.cgroupParent ?? `/hatoba-test-runtime-${process.pid}-${root.slice(-6)}`;
  const stateDir = join(root, 'state');
  const runDir = join(root, 'run');
  mkdirSync(runDir, { recursive: true });
  const chain = makeLayers(stateDir);
  const kernel = await openKernel({
    onFailure: (error) => {
      throw error;
    },
  });
  const netnsFiles: string[] = [];
  const events = new EventBus({ clock: systemClock, log: silentLogger });
  const hooks: RigHooks = { beforeRestart: () => Promise.resolve() };
  const open = async (): ReturnType<typeof openContainers> =>
    openContainers(
      { stateDir, runDir, cgroupParent },
      {
        kernel: {
          ...kernel,
          spawner: watchCalls(kernel.spawner, onStep),
          mounts: watchCalls(kernel.mounts, onStep),
        },
        images: {
          lookup: (reference) => Promise.resolve(lookup(reference, chain)),
          keepDuring: (_reference, _container, make) => make(),
        },
        snapshotter: watchCalls(
          await openOverlaySnapshotter({ root: stateDir, mounts: kernel.mounts }),
          onStep,
        ),
        events,
        beforeRestart: (config) => hooks.beforeRestart(config),
        clock: systemClock,
        random: systemRandom,
        log: silentLogger,
      },
    );
  let engine = await open();
  const whileClosed = async (work: () => Promise<void>): Promise<void> => {
    await engine[Symbol.asyncDispose]();
    await work();
    engine = await open();
  };
  return {
    kernel,
    events,
    hooks,
    root,
    stateDir,
    runDir,
    cgroupParent,
    get containers() {
      return engine.containers;
    },
    get volumes() {
      return engine.volumes;
    },
    reopen: () => whileClosed(() => Promise.resolve()),
    reboot: () => whileClosed(() => powerCut({ root, stateDir, runDir, cgroupParent }, kernel)),
    whileClosed,
    async netns() {
      const path = join(runDir, 'netns', `ht-rt-${netnsFiles.length}`);
      await kernel.namespaces.createNetns(path);
      netnsFiles.push(path);
      return path;
    },
    async abandon() {
      await engine[Symbol.asyncDispose]();
      await kernel[Symbol.asyncDispose]();
    },
    async close() {
      const { containers } = engine;
      const places = { root, stateDir, runDir, cgroupParent };
      await cleanUp(
        ...containers.list().map(
          ({ config }) =>
            () =>
              containers.remove(config.id, { force: true }),
        ),
        ...netnsFiles.map((path) => () => kernel.namespaces.dropNetns(path)),
        () => engine[Symbol.asyncDispose](),
        () => eventually(() => assertNothingLeft(root, stateDir, cgroupParent)),
        // Nothing is there any more for these, unless one of the above has failed.
        () => powerCut(places, kernel),
        () => kernel[Symbol.asyncDispose](),
        () => rmSync(root, { recursive: true, force: true }),
      );
    },
  };
}

/** The same object; `onStep` is called before and after each call of a method. */
function watchCalls<T extends object>(object: T, onStep: () => void): T {
  return new Proxy(object, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      return async (...args: unknown[]): Promise<unknown> => {
        onStep();
        const result: unknown = await Reflect.apply(value, target, args);
        onStep();
        return result;
      };
    },
  });
}

/** A container of image "box" on the host's network, with what a test says otherwise. */
export function aContainer(
  id: string,
  args: readonly string[],
  spec: DeepPartial<ContainerSpec> = {},
  other: Partial<Omit<ContainerConfig, 'limits'>> & { limits?: DeepPartial<Limit> } = {},
): ContainerConfig {
  return {
    name: id,
    netns: 'host',
    cgroupGroup: 'group',
    dns: { nameservers: ['127.0.0.1'], search: ['example.org'], options: ['ndots:0'] },
    hosts: [{ address: '10.0.0.9', names: ['other'] }],
    log: { maxSizeBytes: 0, maxFiles: 3 },
    labels: {},
    ...other,
    id,
    spec: ContainerSpec.fromPartial({ image: 'box', args: [...args], ...spec }),
    limits: Limit.fromPartial(other.limits ?? {}),
  };
}

/** Runs a command in a container to its end. */
export async function runExec(
  containers: Containers,
  id: string,
  command: readonly string[],
  options: Partial<ExecOptions> & { input?: string } = {},
): Promise<{ exitCode: number; stdout: string; stderr: string }> {
  const { input, ...rest } = options;
  const session = await containers.exec(id, {
    command,
    env: [],
    user: '',
    dir: '',
    tty: false,
    stdin: input !== undefined,
    ...rest,
  });
  if (input !== undefined) session.stdin.end(input);
  const [stdout, stderr, exitCode] = await Promise.all([
    readStream(session.stdout),
    readStream(session.stderr),
    session.exitCode,
  ]);
  return { exitCode, stdout, stderr };
}

/** All output of a container so far, or to its end with `follow`: "stdout: text" per line. */
export async function readOutput(
  containers: Containers,
  id: string,
  options: { follow?: boolean; tail?: number } = {},
): Promise<string[]> {
  const lines: string[] = [];
  for await (const { stream, line } of containers.logs(id, { follow: false, ...options })) {
    lines.push(`${stream}: ${Buffer.from(line).toString()}`);
  }
  return lines;
}

/** Creates, starts, and waits for the end. */
export async function runToEnd(
  containers: Containers,
  config: ContainerConfig,
): Promise<{ exitCode: number | undefined; oomKilled: boolean; output: string[] }> {
  await containers.create(config);
  await containers.start(config.id);
  const { exitCode, oomKilled } = await containers.wait(config.id);
  return { exitCode, oomKilled, output: await readOutput(containers, config.id) };
}

async function readStream(stream: NodeJS.ReadableStream): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}

function lookup(
  reference: string,
  chain: readonly LayerId[],
): { image: Image; config: ImageConfig; chain: readonly LayerId[] } | undefined {
  const said = IMAGES[reference];
  if (said === undefined) return undefined;
  const config: ImageConfig = {
    architecture: 'amd64',
    os: 'linux',
    entrypoint: [],
    cmd: ['sh'],
    env: ['PATH=/bin', 'FROM=image'],
    workingDir: '',
    user: '',
    exposedPorts: [],
    volumes: [],
    stopSignal: '',
    healthcheck: undefined,
    labels: {},
    ...said,
  };
  return { image: Image.fromPartial({ id: `sha256:${reference}` }), config, chain };
}

/** Two layers; bottom first. */
function makeLayers(stateDir: string): readonly LayerId[] {
  const ids = ['a'.repeat(64), 'b'.repeat(64)] as LayerId[];
  const [base = '', top = ''] = ids.map((id) => join(stateDir, 'layers', id, 'diff'));
  if (existsSync(base)) return ids;
  for (const dir of ['bin', 'etc', 'proc', 'sys', 'dev', 'tmp', 'root']) {
    mkdirSync(join(base, dir), { recursive: true });
  }
  cpSync(BUSYBOX, join(base, 'bin/busybox'));
  for (const applet of APPLETS.split(' ')) symlinkSync('busybox', join(base, 'bin', applet));
  writeFileSync(
    join(base, 'etc/passwd'),
    'root:x:0:0::/root:/bin/sh\nweb:x:33:33::/home/web:/bin/sh\n',
  );
  writeFileSync(join(base, 'etc/group'), 'root:x:0:\nweb:x:33:\nlog:x:50:web\n');
  mkdirSync(join(top, 'data/deep'), { recursive: true });
  writeFileSync(join(top, 'data/deep/seed'), 'from the image');
  chmodSync(join(top, 'data'), 0o750);
  return ids;
}

function assertNothingLeft(root: string, stateDir: string, cgroupParent: string): void {
  const mounts = readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .filter((line) => line.includes(root));
  const cgroups = detectCgroups()
    .roots.map((top) => top + cgroupParent)
    .filter((path) => existsSync(path));
  const folders = ['containers', 'exits', 'snapshots', 'volumes']
    .flatMap((dir) => namesIn(join(stateDir, dir)).map((name) => `${dir}/${name}`))
    .filter((name) => !name.includes('/.') && !name.startsWith('volumes/keep'));
  const processes = readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .filter((pid) => commandLine(pid).includes(root));
  const left = [
    ...mounts.map((m) => `mount ${m}`),
    ...cgroups.map((c) => `cgroup ${c}`),
    ...folders,
    ...processes.map((p) => `process ${p}: ${commandLine(p).replaceAll('\0', ' ')}`),
  ];
  if (left.length > 0) throw new Error(`left behind: ${left.join('; ')}`);
}

function namesIn(dir: string): string[] {
  return existsSync(dir) ? readdirSync(dir) : [];
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return ''; // it has ended
  }
}
