import { HatobaError } from '../../common/errors.js';
import { LogStream } from '../../proto/gen/hatoba/v1/agent.js';
import type {
  Container,
  ContainerLogsRequest,
  ContainerLogsResponse,
  ContainerStopRequest,
  ContainerUpdateRequest,
} from '../../proto/gen/hatoba/v1/engine.js';
import type { CallContext } from '../../proto/wire/service.js';
import type { ContainerState } from '../../runtime/engine.js';
import { toBuffer } from '../rpc/bytes.js';
import { toLogOptions } from '../rpc/log-options.js';
import { waitFor } from './container-wait.js';
import { restartRule } from './create-config.js';
import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';
import { toContainer } from './to-container.js';

const DEFAULT_KILL_SIGNAL = 'SIGKILL';

/** What makes, changes, ends and shows containers. */
export function containerMethods(
  modules: EngineMethodsModules,
): EngineMethods<LifeMethod | ViewMethod> {
  return { ...lifeMethods(modules), ...viewMethods(modules) };
}

type LifeMethod =
  | 'containerCreate'
  | 'containerStart'
  | 'containerStop'
  | 'containerRestart'
  | 'containerKill'
  | 'containerPause'
  | 'containerUnpause'
  | 'containerRename'
  | 'containerUpdate'
  | 'containerRemove'
  | 'containerPrune';
type ViewMethod = 'containerInspect' | 'containerList' | 'containerWait' | 'containerLogs';

function lifeMethods(modules: EngineMethodsModules): EngineMethods<LifeMethod> {
  const { local, clock, engine } = modules;
  const { containers } = engine;
  const show = (state: ContainerState): Container => toContainer(state, taskOf(modules, state));
  const own = (reference: string, verb: string): string => local.own(reference, verb).config.id;
  return {
    async containerCreate(request) {
      const { state, warnings } = await local.create(request);
      return { id: state.config.id, warnings };
    },
    containerStart: async ({ container }) => show(await local.start(container)),
    containerStop: async (request) =>
      show(await containers.stop(own(request.container, 'stop'), stopOptions(request))),
    containerRestart: async (request) =>
      show(await local.restart(request.container, stopOptions(request))),
    async containerKill({ container, signal }) {
      const id = own(container, 'kill');
      await containers.kill(id, signal === '' ? DEFAULT_KILL_SIGNAL : signal);
      return show(containers.find(id));
    },
    containerPause: async ({ container }) => show(await containers.pause(own(container, 'pause'))),
    containerUnpause: async ({ container }) =>
      show(await containers.unpause(own(container, 'unpause'))),
    containerRename: async ({ container, name }) => show(await local.rename(container, name)),
    containerUpdate: async (request) =>
      show(await local.update(request.container, changeOf(request))),
    async containerRemove({ container, force, volumes }) {
      await local.remove(container, { force, volumes });
      return {};
    },
    async containerPrune({ olderThanMs }) {
      const removed = await local.prune(olderThanMs, clock.nowMs());
      const reclaimedBytes = removed.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      return { removed: removed.map(({ id }) => id), reclaimedBytes };
    },
  };
}

function viewMethods(modules: EngineMethodsModules): EngineMethods<ViewMethod> {
  const { containers } = modules.engine;
  const show = async (state: ContainerState, withSize: boolean): Promise<Container> => {
    const task = taskOf(modules, state);
    return withSize
      ? toContainer(state, task, await containers.sizeRw(state.config.id))
      : toContainer(state, task);
  };
  return {
    containerInspect: ({ container, size }) => show(containers.find(container), size),
    async containerList({ all, size }) {
      const shown = containers.list().filter(({ status }) => all || isOn(status));
      return { containers: await Promise.all(shown.map((state) => show(state, size))) };
    },
    containerWait: async ({ container, condition }, { signal }) =>
      show(await waitFor(containers, containers.find(container), condition, signal), false),
    containerLogs: (request, context) => logsOf(modules, request, context),
  };
}

async function* logsOf(
  { engine }: EngineMethodsModules,
  { container, options }: ContainerLogsRequest,
  { signal }: CallContext,
): AsyncGenerator<ContainerLogsResponse, void, undefined> {
  const { containers } = engine;
  const { id } = containers.find(container).config;
  for await (const { timestampMs, stream, line } of containers.logs(
    id,
    toLogOptions(options),
    signal,
  )) {
    const from = stream === 'stderr' ? LogStream.STDERR : LogStream.STDOUT;
    yield { timestampMs, stream: from, line: toBuffer(line) };
  }
}

function taskOf(
  { tasks }: EngineMethodsModules,
  { config }: ContainerState,
): ReturnType<EngineMethodsModules['tasks']['task']> {
  return tasks.task(config.id);
}

function isOn(status: ContainerState['status']): boolean {
  return status === 'running' || status === 'paused' || status === 'restarting';
}

function stopOptions({ graceMs, signal }: ContainerStopRequest): {
  graceMs?: number;
  signal?: string;
} {
  if (graceMs !== undefined && graceMs < 0) {
    throw new HatobaError('invalid-argument', `a grace period of ${graceMs} ms is below 0`);
  }
  return {
    ...(graceMs === undefined ? {} : { graceMs }),
    ...(signal === '' ? {} : { signal }),
  };
}

function changeOf({ limits, restartPolicy }: ContainerUpdateRequest): {
  limits?: NonNullable<ContainerUpdateRequest['limits']>;
  restart?: ReturnType<typeof restartRule>;
} {
  return {
    ...(limits === undefined ? {} : { limits }),
    ...(restartPolicy === undefined ? {} : { restart: restartRule(restartPolicy) }),
  };
}
