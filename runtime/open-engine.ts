import { mkdirSync } from 'node:fs';
import type { Clock } from '../common/clock.js';
import { DisposableStack } from '../common/disposable.js';
import type { Logger } from '../common/logger.js';
import type { Random } from '../common/random.js';
import type { IdRange, Kernel } from '../linux/ports.js';
import { openContainers } from './container/open-containers.js';
import { DEFAULT_GARBAGE_RULES } from './core/garbage-plan.js';
import type { ImageUser } from './core/image-removal.js';
import { LocalEngineSystem } from './disk/engine-system.js';
import type {
  ContainerConfig,
  Containers,
  ContainerState,
  Engine,
  GarbageRules,
} from './engine.js';
import { EventBus } from './events/event-bus.js';
import { openImageStore } from './image/open-image-store.js';
import { layersInUse } from './snapshot/layers-in-use.js';
import { openSnapshotter } from './snapshot/open-snapshotter.js';

export interface EngineOptions {
  /** Everything that is kept: images, layers, containers, volumes. Absolute, without ":". */
  stateDir: string;
  /** What does not survive a reboot; network namespaces are looked for under `<runDir>/netns`. */
  runDir: string;
  /** Parent of all containers' cgroups: "/hatoba". */
  cgroupParent: string;
  /** Registries spoken to without TLS: "host:port", "10.0.0.0/8". */
  insecureRegistries: readonly string[];
  /** Registry → base addresses asked before it, in order: {"docker.io": ["http://10.0.0.5:5000"]}. */
  registryMirrors?: Readonly<Record<string, readonly string[]>>;
  /** Credentials for registries, in the format of docker's config.json; read anew for each use. */
  credentialsFile?: string;
  /** Default: overlayfs where the kernel and the file system of stateDir can, else copies. */
  snapshotter?: 'overlay' | 'copy';
  /**
   * Ids for containers with users of their own (usernsMode "remap"), where /etc/subuid and
   * /etc/subgid have none for the users hatoba or dockremap; by default 65,536 from 1879048192 on.
   */
  usernsRange?: IdRange;
  garbage?: Partial<GarbageRules>;
}

export interface EngineModules {
  kernel: Pick<Kernel, 'spawner' | 'mounts' | 'namespaces' | 'files' | 'sockets'>;
  clock: Clock;
  random: Random;
  logger: Logger;
  /**
   * Called before a container that has run before is started again, by hand or by its restart rule:
   * its network namespace must be there when it resolves.
   */
  beforeRestart?: (config: ContainerConfig) => Promise<void>;
}

/**
 * Opens the container engine of a state folder, taking up what is there; one process at a time may.
 * Ending it ends no container; with none left, the mounts it made go too.
 */
export async function openEngine(options: EngineOptions, modules: EngineModules): Promise<Engine> {
  const { stateDir } = options;
  const { kernel, clock, random, logger } = modules;
  mkdirSync(stateDir, { recursive: true, mode: 0o711 });
  const opened = new DisposableStack();
  const events = new EventBus({ clock, log: logger });
  let containersOpened: Containers | undefined;
  try {
    const snapshotter = await openSnapshotter(stateDir, options.snapshotter, { kernel, logger });
    const images = await openImageStore({
      root: stateDir,
      kernel,
      clock,
      random,
      logger,
      insecureRegistries: options.insecureRegistries,
      ...(options.registryMirrors && { registryMirrors: options.registryMirrors }),
      ...(options.credentialsFile !== undefined && { credentialsFile: options.credentialsFile }),
      surroundings: {
        events,
        usersOf: (id) => usersOfImage(id, containersOpened?.list() ?? []),
        containerLayers: () => layersInUse(stateDir),
        snapshotter: () => snapshotter.name,
      },
    });
    opened.use('images', images);
    const { containers, volumes } = opened.use(
      'containers',
      await openContainers(options, {
        kernel,
        images,
        snapshotter,
        events,
        clock,
        random,
        log: logger,
        ...(modules.beforeRestart !== undefined && { beforeRestart: modules.beforeRestart }),
      }),
    );
    containersOpened = containers;
    const system = new LocalEngineSystem({
      root: stateDir,
      rules: { ...DEFAULT_GARBAGE_RULES, ...options.garbage },
      images: images.garbage,
      containers,
      volumes,
      events,
      clock,
    });
    const end = (): Promise<void> => opened[Symbol.asyncDispose]();
    return { images, containers, volumes, system, [Symbol.asyncDispose]: end };
  } catch (error) {
    await opened[Symbol.asyncDispose]();
    throw error;
  }
}

function usersOfImage(id: string, containers: readonly ContainerState[]): ImageUser[] {
  return containers
    .filter(({ imageId }) => imageId === id)
    .map(({ config, status }) => ({
      container: config.name,
      isRunning: status !== 'created' && status !== 'exited',
    }));
}
