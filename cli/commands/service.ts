import type { Command } from 'commander';
import type { ServiceSpec } from '../../common/model/objects.js';
import { HatobaError } from '../../common/errors.js';
import { scaledMode } from '../../common/model/service-modes.js';
import { unary } from '../../proto/wire/client.js';
import { checkService } from '../../proto/wire/check.js';
import { getService, listServices, networkNames } from '../api.js';
import { waitForServices } from '../converge.js';
import { UsageError } from '../failure.js';
import { formatListing, formatObject, type Listing } from '../output/listing.js';
import { note, print } from '../output/print.js';
import { replicasText, serviceRow, type ServiceRow } from '../output/rows.js';
import { serviceText } from '../output/service-details.js';
import { withControl, type Session } from '../session.js';
import { withoutConflict } from '../without-conflict.js';
import { registerServiceLogs } from './logs.js';
import {
  asInspect,
  asListing,
  asWaiting,
  collect,
  integerOption,
  type InspectOptions,
  type ListingOptions,
  type WaitingOptions,
} from './options.js';
import { asPs, printTasks, type PsOptions } from './task.js';

const SERVICES: Listing<ServiceRow> = {
  key: (s) => s.id,
  columns: [
    { title: 'ID', value: (s) => s.id.slice(0, 12) },
    { title: 'NAME', value: (s) => s.name },
    { title: 'MODE', value: (s) => s.mode },
    { title: 'REPLICAS', value: replicasText },
    { title: 'IMAGE', value: (s) => s.image },
    { title: 'PORTS', value: (s) => s.ports.join(', ') },
    { title: 'UPDATE', value: (s) => s.updateStatus.state, wide: true },
    { title: 'MESSAGE', value: (s) => s.updateStatus.message, wide: true },
  ],
};

/** Prints the services of a stack, or all. */
export async function printServices(
  session: Session,
  stack: string,
  options: ListingOptions,
): Promise<void> {
  print(formatListing((await listServices(session, stack)).map(serviceRow), SERVICES, options));
}

/** `hatoba service …`. */
export function registerService(program: Command): void {
  const service = program.command('service').description('what the cluster keeps running');
  asListing(service.command('ls').description('list services')).action((options: ListingOptions) =>
    withControl((session) => printServices(session, '', options)),
  );
  asPs(service.command('ps <service>').description('list the tasks of a service'), {
    all: true,
  }).action((name: string, options: PsOptions) =>
    withControl((session) => printTasks(session, { service: name, history: options.all }, options)),
  );
  asInspect(service.command('inspect <service>').description('show all of a service'))
    .option('--pretty', 'for people', false)
    .action((name: string, options: InspectOptions & { pretty: boolean }) =>
      withControl(async (session) => {
        const found = await getService(session, name);
        if (options.pretty) print(serviceText(found, await networkNames(session)));
        else print(formatObject({ ...serviceRow(found), object: found }, options));
      }),
    );
  service
    .command('rm <service...>')
    .description('remove services with their tasks')
    .action((names: string[]) =>
      withControl(async ({ control, signal }) => {
        for (const name of names) {
          await unary(control.removeService.bind(control), { service: name }, { signal });
          print(name);
        }
      }),
    );
  registerScale(service);
  registerUpdate(service);
  registerServiceLogs(service);
}

function registerScale(service: Command): void {
  asWaiting(
    service
      .command('scale <service=replicas...>')
      .description('change how many replicas run, or how often a job completes'),
  ).action((pairs: string[], options: WaitingOptions) =>
    withControl(async (session) => {
      const wanted = pairs.map((pair) => {
        const match = /^(.+)=(\d+)$/.exec(pair);
        if (match === null)
          throw new UsageError(`"${pair}" is not SERVICE=REPLICAS, such as web=3`);
        return { name: match[1] ?? '', replicas: Number(match[2]) };
      });
      const ids: string[] = [];
      for (const { name, replicas } of wanted) {
        ids.push(
          await changeService(session, name, (spec) => ({
            ...spec,
            mode: withReplicas(name, spec.mode, replicas),
          })),
        );
      }
      await finish(session, ids, options);
    }),
  );
}

/** @throws {HatobaError} failed-precondition for a service with a task on each node */
function withReplicas(
  name: string,
  mode: ServiceSpec['mode'],
  replicas: number,
): ServiceSpec['mode'] {
  const scaled = scaledMode(mode, replicas);
  if (scaled !== undefined) return scaled;
  throw new HatobaError(
    'failed-precondition',
    `service ${name} has one task on each node, no number of replicas`,
  );
}

interface UpdateFlags extends WaitingOptions {
  image?: string;
  replicas?: number;
  envAdd: string[];
  envRm: string[];
  force: boolean;
}

function registerUpdate(service: Command): void {
  asWaiting(service.command('update <service>').description('roll to a new version'))
    .option('--image <image>', 'the image of the new tasks')
    .option('--replicas <n>', 'how many replicas run', integerOption)
    .option('--env-add <NAME=value>', 'set a variable; may be given several times', collect, [])
    .option('--env-rm <NAME>', 'remove a variable; may be given several times', collect, [])
    .option('--force', 'replace the tasks even if nothing changed', false)
    .action((name: string, options: UpdateFlags) =>
      withControl(async (session) => {
        const id = await changeService(session, name, (spec) => changedSpec(spec, options));
        await finish(session, [id], options);
      }),
    );
  asRollback(service.command('rollback <service>')).action((name: string, flags: RollbackFlags) =>
    withControl((session) => rollBack(session, name, flags)),
  );
}

export interface RollbackFlags extends WaitingOptions {
  toRevision?: number;
}

/** Makes a command one that goes back to a former spec. */
export function asRollback(command: Command): Command {
  return asWaiting(command.description('go back to a former spec')).option(
    '--to-revision <n>',
    'which one of "hatoba rollout history"; the previous one if not given',
    integerOption,
  );
}

export async function rollBack(
  session: Session,
  service: string,
  flags: RollbackFlags,
): Promise<void> {
  const { control, signal } = session;
  const to = flags.toRevision === undefined ? {} : { rollbackTo: flags.toRevision };
  const request = { service, version: 0, spec: undefined, rollback: true, ...to };
  const { id } = await unary(control.updateService.bind(control), request, { signal });
  await finish(session, [id], flags, false);
}

function changedSpec(spec: ServiceSpec, flags: UpdateFlags): ServiceSpec {
  const { taskTemplate } = spec;
  const { containerSpec } = taskTemplate;
  const names = [...flags.envRm, ...flags.envAdd.map((line) => line.split('=', 1)[0])];
  const kept = containerSpec.env.filter((line) => !names.includes(line.split('=', 1)[0]));
  return {
    ...spec,
    mode:
      flags.replicas === undefined ? spec.mode : withReplicas(spec.name, spec.mode, flags.replicas),
    taskTemplate: {
      ...taskTemplate,
      containerSpec: {
        ...containerSpec,
        image: flags.image ?? containerSpec.image,
        env: [...kept, ...flags.envAdd],
      },
      forceUpdate: taskTemplate.forceUpdate + (flags.force ? 1 : 0),
    },
  };
}

/**
 * Writes a changed spec, once more where it has been written meanwhile.
 * @returns the service's id
 */
function changeService(
  session: Session,
  name: string,
  change: (spec: ServiceSpec) => ServiceSpec,
): Promise<string> {
  const { control, signal } = session;
  return withoutConflict(async () => {
    const { id, version, spec } = await getService(session, name);
    const request = { service: id, version, spec: change(spec), rollback: false };
    const updated = await unary(control.updateService.bind(control), request, { signal });
    return checkService(updated).id;
  });
}

/** Waits for what was changed, unless that is not wanted. */
export async function finish(
  session: Session,
  ids: readonly string[],
  options: WaitingOptions,
  rollbackFails = true,
): Promise<void> {
  if (!options.detach) {
    await waitForServices(session, ids, { timeoutMs: options.timeout, rollbackFails });
    note(`converged: ${ids.length} ${ids.length === 1 ? 'service' : 'services'}`);
  }
}
