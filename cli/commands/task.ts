import type { Command } from 'commander';
import { unary } from '../../proto/wire/client.js';
import { checkTask } from '../../proto/wire/check.js';
import { hostnames, listTasks } from '../api.js';
import { formatListing, formatObject, type Listing } from '../output/listing.js';
import { print } from '../output/print.js';
import { agoText, taskRow, type TaskRow } from '../output/rows.js';
import { withControl, type Session } from '../session.js';
import { asInspect, asListing, type InspectOptions, type ListingOptions } from './options.js';

const TASKS: Listing<TaskRow> = {
  key: (t) => t.id,
  columns: [
    { title: 'ID', value: (t) => t.id.slice(0, 12) },
    { title: 'NAME', value: (t) => t.name },
    { title: 'IMAGE', value: (t) => t.image },
    { title: 'NODE', value: (t) => t.node },
    { title: 'DESIRED', value: (t) => t.desiredState },
    { title: 'STATE', value: (t) => `${t.state} ${agoText(t.stateChangedAt, Date.now())}`.trim() },
    { title: 'ERROR', value: (t) => (t.error === '' ? waitingFor(t) : t.error) },
    {
      title: 'ADDRESSES',
      value: (t) => t.addresses.map((a) => `${a.network}=${a.ip}`).join(' '),
      wide: true,
    },
    { title: 'PID', value: (t) => (t.pid === 0 ? '' : String(t.pid)), wide: true },
  ],
};

/** For a task that waits: on what. */
function waitingFor(task: TaskRow): string {
  const isToStop = task.state === 'running' && task.desiredState !== 'running';
  return isToStop || ['new', 'pending'].includes(task.state) ? task.message : '';
}

/** Prints tasks, newest of each slot last; the body of every `ps`. */
export async function printTasks(
  session: Session,
  filter: { service?: string; stack?: string; node?: string; history?: boolean },
  options: ListingOptions,
): Promise<void> {
  const [tasks, names] = await Promise.all([listTasks(session, filter), hostnames(session)]);
  print(
    formatListing(
      tasks.map((t) => taskRow(t, names)),
      TASKS,
      options,
    ),
  );
}

export interface PsOptions extends ListingOptions {
  all: boolean;
}

/** Adds -a to a listing of tasks. */
export function asPs(command: Command): Command {
  return asListing(command).option('-a, --all', 'also the dead tasks of each slot', false);
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
  asInspect(task.command('inspect <task>').description('show all of a task')).action(
    (name: string, options: InspectOptions) =>
      withControl(async (session) => {
        const { control, signal } = session;
        const found = await unary(control.getTask.bind(control), { task: name }, { signal });
        const row = taskRow(checkTask(found), await hostnames(session));
        print(formatObject({ ...row, object: found }, options));
      }),
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
