import { setMaxListeners } from 'node:events';
import { describeError, HatobaError, wrapError } from '../../common/errors.js';
import type { Service, Task } from '../../common/model/objects.js';
import { placeName } from '../../common/model/task-place.js';
import { rankOf } from '../../common/model/task-state.js';
import { LogMessage, LogOptions } from '../../proto/gen/hatoba/v1/agent.js';
import type { ServiceLogsRequest } from '../../proto/gen/hatoba/v1/control.js';
import { TaskState } from '../../proto/gen/hatoba/v1/types.js';
import { readStream } from '../../proto/wire/client.js';
import type { View } from '../view/view.js';
import { nodeLabel, type AgentConnections } from './agents.js';
import { Channel } from './channel.js';

/**
 * The logs of a service's tasks, or of one task, from all their nodes: in order of time, or as
 * they come while following. Where a node cannot be reached, a message with `err` stands for the
 * lines that are missing. Following a service takes in the tasks that it gets later.
 */
export class LogRelay {
  readonly #view: View;
  readonly #agents: AgentConnections;

  constructor(modules: { view: View; agents: AgentConnections }) {
    this.#view = modules.view;
    this.#agents = modules.agents;
  }

  messages(
    request: ServiceLogsRequest,
    signal: AbortSignal,
  ): AsyncGenerator<LogMessage, void, undefined> {
    const options = request.options ?? LogOptions.fromPartial({});
    if (request.task !== '') {
      const task = this.#view.findByPrefix('task', request.task);
      return this.#ofTask(task, options, signal);
    }
    const service = this.#view.findByPrefix('service', request.service);
    return options.follow
      ? this.#follow(service, options, signal)
      : byTime(this.#tasksWithLogs(service).map((task) => this.#ofTask(task, options, signal)));
  }

  #tasksWithLogs(service: Service): Task[] {
    return this.#view.tasksOfService(service.id).filter(
      // Before that no container of the task has run.
      (t) => t.nodeId !== '' && rankOf(t.status.state) >= rankOf(TaskState.STARTING),
    );
  }

  async *#ofTask(
    task: Task,
    options: LogOptions,
    signal: AbortSignal,
  ): AsyncGenerator<LogMessage, void, undefined> {
    const node = this.#view.node(task.nodeId);
    const origin = {
      taskId: task.id,
      taskName: placeName(task),
      nodeId: task.nodeId,
      nodeHostname: node === undefined ? task.nodeId : nodeLabel(node),
    };
    if (task.nodeId === '') {
      throw new HatobaError('failed-precondition', `task ${task.id} is on no node yet`);
    }
    try {
      const call = this.#agents.of(task.nodeId).taskLogs({ taskId: task.id, options });
      for await (const message of readStream(call, signal)) yield { ...message, ...origin };
    } catch (error) {
      signal.throwIfAborted();
      yield LogMessage.fromPartial({ ...origin, err: describeError(error) });
    }
  }

  async *#follow(
    service: Service,
    options: LogOptions,
    signal: AbortSignal,
  ): AsyncGenerator<LogMessage, void, undefined> {
    const channel = new Channel<LogMessage>();
    const reading = new AbortController();
    const both = AbortSignal.any([signal, reading.signal]);
    setMaxListeners(0, both); // each task's stream is one
    const known = new Set<string>();
    const takeIn = (from: LogOptions): void => {
      for (const task of this.#tasksWithLogs(service)) {
        if (known.has(task.id)) continue;
        known.add(task.id);
        void this.#copy(this.#ofTask(task, from, both), channel);
      }
    };
    // A task that comes later is shown from its first line on.
    const unsubscribe = this.#view.onChange((changes) => {
      if (changes.some((c) => c.kind === 'task' && c.object.serviceId === service.id)) {
        takeIn({ ...options, tail: undefined });
      }
    });
    const onAbort = (): void => channel.close();
    signal.addEventListener('abort', onAbort, { once: true });
    takeIn(options);
    try {
      yield* channel.read();
    } finally {
      unsubscribe();
      signal.removeEventListener('abort', onAbort);
      reading.abort();
    }
  }

  /** Never rejects: what goes wrong with one task reaches the reader of all. */
  async #copy(source: AsyncIterable<LogMessage>, channel: Channel<LogMessage>): Promise<void> {
    try {
      for await (const message of source) {
        if (!(await channel.push(message))) return;
      }
    } catch (error) {
      channel.fail(wrapError(error, 'reading logs'));
    }
  }
}

/** Merges streams that are each in order of time; each is read one message ahead. */
export async function* byTime(
  sources: readonly AsyncIterator<LogMessage, void>[],
): AsyncGenerator<LogMessage, void, undefined> {
  try {
    const heads = await Promise.all(
      sources.map(async (source) => ({ source, next: await source.next() })),
    );
    for (;;) {
      const open = heads.filter((h) => h.next.done !== true);
      const first = open.reduce<(typeof open)[number] | undefined>(
        (a, b) => (a === undefined || timeOf(b.next) < timeOf(a.next) ? b : a),
        undefined,
      );
      if (first?.next.value === undefined) return;
      yield first.next.value;
      first.next = await first.source.next();
    }
  } finally {
    for (const source of sources) await source.return?.();
  }
}

function timeOf(next: IteratorResult<LogMessage, void>): number {
  return next.value?.timestampMs ?? 0;
}
