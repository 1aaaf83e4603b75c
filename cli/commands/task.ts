import type { Command } from 'commander';
import { isKind } from '../../common/errors.js';
import type { Task } from '../../common/model/objects.js';
import { unary } from '../../proto/wire/client.js';
import { checkTask } from '../../proto/wire/check.js';
import { hostnames, listTasks } from '../api.js';
import { formatObject } from '../output/listing.js';
import { print } from '../output/print.js';
import { taskRow } from '../output/rows.js';
import { ofSamePlace, taskText } from '../output/task-details.js';
import { formatTasks } from '../output/task-rows.js';
import { withControl, type Session } from '../session.js';
import { asInspect, asListing, type InspectOptions, type ListingOptions } from './options.js';

/** The body of every `ps`. */
export async function printTasks(
  session: Session,
  filter: { service?: string; stack?: string; node?: string; history?: boolean },
  options: ListingOptions,
): Promise<void> {
  const [tasks, names] = await Promise.all([listTasks(session, filter), hostnames(session)]);
  const rows = tasks.map((t) => taskRow(t, names));
  print(formatTasks(rows, options));
}

export interface PsOptions extends ListingOptions {
  all: boolean;
}

/** Adds -a to a listing of tasks; of one service or stack, the former ones are always there. */
export function asPs(command: Command, options: { all?: boolean } = {}): Command {
  const { all = false } = options;
  return asListing(command).option('-a, --all', 'also the former tasks of each slot', all);
}

/** `hatoba task ls|inspect|exec`. */
export function registerTask(program: Command): void {
  const task = program.command('task').description('single runs of a service, each in a container');
  asPs(task.command('ls').description('list tasks'))
    .option('--service <service>', 'only of this service')
    .option('--node <node>', 'only on this node')
    .action((options: PsOptions & { service?: string; node?: string }) =>
      withControl((session) => {
        const { service = '', node = '', all } = options;
        return printTasks(session, { service, node, history: all }, options);
      }),
    );
  asInspect(
    task.command('inspect <task>').description('show all of a task, and what was in its place'),
  )
    .option('--pretty', 'for people', false)
    .action((name: string, options: InspectOptions & { pretty: boolean }) =>
      withControl((session) => inspectTask(session, name, options)),
    );
  task
    .command('exec <task> <command...>')
    .description('run a command in the container of a task')
    .option('-i, --interactive', 'pass stdin on', false)
    .option('-t, --tty', 'give it a terminal', false)
    .option('-e, --env <NAME=value...>', 'set variables', [])
    .option('-u, --user <user>', 'user[:group]', '')
    .option('-w, --workdir <dir>', 'working directory', '')
    .passThroughOptions()
    .action(async (name: string, words: string[], options: ExecFlags) => {
      const { execTask } = await import('../exec.js');
      const command = withoutDashes(words);
      await withControl((session) => execTask(session, { task: name, command, ...options }));
    });
}

async function inspectTask(
  session: Session,
  name: string,
  options: InspectOptions & { pretty: boolean },
): Promise<void> {
  const { control, signal } = session;
  const found = await unary(control.getTask.bind(control), { task: name }, { signal });
  const task = checkTask(found);
  const [tasks, names] = await Promise.all([
    listTasks(session, { service: task.serviceId, history: true }).catch(asNone),
    hostnames(session),
  ]);
  const row = taskRow(task, names);
  const history = ofSamePlace(task, tasks).map((t) => taskRow(t, names));
  if (options.pretty) print(taskText(row, history.length > 0 ? history : [row]));
  else print(formatObject({ ...row, history, object: found }, options));
}

/** The tasks of a service that is gone are on their way out too. */
function asNone(error: unknown): Task[] {
  if (isKind(error, 'not-found')) return [];
  throw error;
}

/** The words behind an optional "--". */
export function withoutDashes(words: readonly string[]): readonly string[] {
  return words[0] === '--' ? words.slice(1) : words;
}

interface ExecFlags {
  interactive: boolean;
  tty: boolean;
  env: string[];
  user: string;
  workdir: string;
}
