import type { Clock } from '../../common/clock.js';
import { HatobaError } from '../../common/errors.js';
import type { Task } from '../../common/model/objects.js';
import { placeName } from '../../common/model/task-place.js';
import {
  AgentService,
  LogStream,
  type ExecInput,
  type ExecOutput,
  type ImageListRequest,
  type ImageListResponse,
  type ImageLoadInput,
  type ImageLoadResponse,
  type ImageProgress,
  type ImagePullRequest,
  type LogMessage,
  type TaskLogsRequest,
} from '../../proto/gen/hatoba/v1/agent.js';
import {
  bindService,
  type AccessRules,
  type BoundService,
  type CallContext,
  type Implementation,
} from '../../proto/wire/service.js';
import type { Containers, Images } from '../executor/local-engine.js';
import { toBuffer } from './bytes.js';
import { transferMessages } from './image-progress.js';
import { toLogOptions } from './log-options.js';
import { execInTask } from './task-exec.js';

/** Whoever may call runs commands as root in any container: managers and local operators only. */
const ACCESS: AccessRules<typeof AgentService> = {
  taskLogs: 'operator',
  taskExec: 'operator',
  imageLoad: 'operator',
  imagePull: 'operator',
  imageList: 'operator',
};

export interface AgentServerModules {
  readonly engine: {
    readonly images: Pick<Images, 'load' | 'pull' | 'list'>;
    readonly containers: Pick<Containers, 'get' | 'logs' | 'exec'>;
  };
  readonly tasks: { task(id: string): Task | undefined };
  readonly clock: Clock;
}

/** What a node answers: the logs of its tasks, commands in them, its images. */
export class AgentServer implements Implementation<typeof AgentService> {
  readonly #node: { readonly nodeId: string; readonly hostname: string };
  readonly #modules: AgentServerModules;

  constructor(node: { nodeId: string; hostname: string }, modules: AgentServerModules) {
    this.#node = node;
    this.#modules = modules;
  }

  service(): BoundService {
    return bindService(AgentService, this, ACCESS);
  }

  async *taskLogs(
    { taskId, options }: TaskLogsRequest,
    { signal }: CallContext,
  ): AsyncGenerator<LogMessage, void, undefined> {
    const { containers } = this.#modules.engine;
    const container = this.#requireContainer(taskId);
    const { nodeId, hostname: nodeHostname } = this.#node;
    const origin = { taskId, taskName: this.#taskName(taskId), nodeId, nodeHostname, err: '' };
    for await (const line of containers.logs(container, toLogOptions(options), signal)) {
      const { timestampMs } = line;
      const stream = line.stream === 'stderr' ? LogStream.STDERR : LogStream.STDOUT;
      yield { ...origin, timestampMs, stream, line: toBuffer(line.line) };
    }
  }

  async *taskExec(
    messages: AsyncIterable<ExecInput>,
    { signal }: CallContext,
  ): AsyncGenerator<ExecOutput, void, undefined> {
    yield* execInTask(this.#modules.engine.containers, messages, signal);
  }

  async imageLoad(
    messages: AsyncIterable<ImageLoadInput>,
    { signal }: CallContext,
  ): Promise<ImageLoadResponse> {
    const images = await this.#modules.engine.images.load(chunksOf(messages), { signal });
    return { results: [{ ...this.#node, images, err: '' }] };
  }

  async *imagePull(
    { reference, auth, platform }: ImagePullRequest,
    { signal }: CallContext,
  ): AsyncGenerator<ImageProgress, void, undefined> {
    const { engine, clock } = this.#modules;
    yield* transferMessages(this.#node, clock, (onProgress) =>
      engine.images.pull(reference, {
        signal,
        onProgress,
        refresh: true,
        ...(auth === undefined ? {} : { auth }),
        ...(platform === '' ? {} : { platform }),
      }),
    );
  }

  async imageList(_request: ImageListRequest): Promise<ImageListResponse> {
    const images = await this.#modules.engine.images.list();
    return { nodes: [{ ...this.#node, images, err: '' }] };
  }

  #requireContainer(taskId: string): string {
    if (this.#modules.engine.containers.get(taskId) !== undefined) return taskId;
    throw new HatobaError(
      'not-found',
      `task ${taskId} has no container on node ${this.#node.hostname}`,
    );
  }

  /** "web.1", as in `service ps`. */
  #taskName(taskId: string): string {
    const task = this.#modules.tasks.task(taskId);
    return task === undefined || task.serviceName === '' ? taskId : placeName(task);
  }
}

async function* chunksOf(
  messages: AsyncIterable<ImageLoadInput>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const { input } of messages) {
    if (input?.$case === 'chunk') yield input.value;
  }
}
