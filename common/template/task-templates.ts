import type { ContainerSpec, Mount, Task } from '../../proto/gen/hatoba/v1/types.js';
import { HatobaError } from '../errors.js';
import { placeOf, taskName } from '../model/task-place.js';
import { compileTemplate } from './template.js';

/** What templates in the spec of a task may ask for; the names are those of Swarm. */
export interface TaskTemplateData {
  readonly Service: {
    readonly ID: string;
    readonly Name: string;
    readonly Labels: Readonly<Record<string, string>>;
  };
  readonly Node: {
    readonly ID: string;
    readonly Hostname: string;
    readonly Platform: { readonly OS: string; readonly Architecture: string };
  };
  /** `Slot` of a global service's task is the id of its node. */
  readonly Task: { readonly ID: string; readonly Name: string; readonly Slot: string };
}

/** What a node says of itself to its tasks. */
export interface TemplateNode {
  readonly hostname: string;
  readonly os: string;
  readonly architecture: string;
}

type TemplatedTask = Pick<
  Task,
  'id' | 'slot' | 'nodeId' | 'serviceId' | 'serviceName' | 'serviceLabels'
>;

/** What the templates of a task mean on its node. */
export function templateDataOf(task: TemplatedTask, node: TemplateNode): TaskTemplateData {
  return {
    Service: { ID: task.serviceId, Name: task.serviceName, Labels: task.serviceLabels },
    Node: {
      ID: task.nodeId,
      Hostname: node.hostname,
      Platform: { OS: node.os, Architecture: node.architecture },
    },
    Task: { ID: task.id, Name: taskName(task), Slot: String(placeOf(task)) },
  };
}

/** Told of each field that cannot be expanded, "mounts[0].source". */
export type OnMistake = (path: string, error: HatobaError) => void;

/**
 * The spec with its templates expanded: in hostname, env, and of mounts source, target, and the
 * labels and options of a new volume. A field that cannot be expanded stays as it is.
 * @param onMistake hears of each
 */
export function expandContainer(
  spec: ContainerSpec,
  data: TaskTemplateData,
  onMistake: OnMistake,
): ContainerSpec {
  const expand = expander(data, onMistake);
  return {
    ...spec,
    hostname: expand('hostname', spec.hostname),
    env: spec.env.map((line, i) => expand(`env[${i}]`, line)),
    mounts: spec.mounts.map((mount, i) => expandMount(`mounts[${i}]`, mount, expand)),
  };
}

/** Whether text has a template in it, or what was to be one. */
export function isTemplate(text: string): boolean {
  return text.includes('{{');
}

type Expand = (path: string, text: string) => string;

function expander(data: TaskTemplateData, onMistake: OnMistake): Expand {
  return (path, text) => {
    if (!isTemplate(text)) return text;
    try {
      return compileTemplate(text, { isStrict: true })(data);
    } catch (error) {
      if (!(error instanceof HatobaError)) throw error;
      onMistake(path, error);
      return text;
    }
  };
}

function expandMount(path: string, mount: Mount, expand: Expand): Mount {
  const { volumeOptions: options } = mount;
  const values = (name: string, map: Readonly<Record<string, string>>): Record<string, string> =>
    Object.fromEntries(
      Object.entries(map).map(([k, v]) => [k, expand(`${path}.volumeOptions.${name}.${k}`, v)]),
    );
  return {
    ...mount,
    source: expand(`${path}.source`, mount.source),
    target: expand(`${path}.target`, mount.target),
    ...(options === undefined
      ? {}
      : {
          volumeOptions: {
            ...options,
            labels: values('labels', options.labels),
            driverOpts: values('driverOpts', options.driverOpts),
          },
        }),
  };
}
