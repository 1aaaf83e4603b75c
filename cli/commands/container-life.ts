import { Option, type Command } from 'commander';
import { describeError, isKind } from '../../common/errors.js';
import { unary } from '../../proto/wire/client.js';
import { withEngine, type EngineSession } from '../engine-session.js';
import { forEach } from '../for-each.js';
import { confirm } from '../output/confirm.js';
import { note, print } from '../output/print.js';
import { formatBytes } from '../../common/bytes.js';
import { durationOption, integerOption } from './options.js';

interface StopFlags {
  timeout?: number;
  /** The old name of it. */
  time?: number;
  signal?: string;
}

/** `hatoba start` is in container-run.ts, as it can attach; here is what follows it. */
export function registerContainerLife(program: Command): void {
  asStopping(program.command('stop <container...>').description('stop containers')).action(
    (names: string[], flags: StopFlags) =>
      each(names, ({ engine, signal }, container) =>
        unary(engine.containerStop.bind(engine), stopRequest(container, flags), { signal }),
      ),
  );
  asStopping(
    program.command('restart <container...>').description('stop containers and start them again'),
  ).action((names: string[], flags: StopFlags) =>
    each(names, ({ engine, signal }, container) =>
      unary(engine.containerRestart.bind(engine), stopRequest(container, flags), { signal }),
    ),
  );
  program
    .command('kill <container...>')
    .description('send a signal to the first process of containers')
    .option('-s, --signal <signal>', 'name or number', 'KILL')
    .action((names: string[], { signal: word }: { signal: string }) =>
      each(names, ({ engine, signal }, container) =>
        unary(engine.containerKill.bind(engine), { container, signal: word }, { signal }),
      ),
    );
  program
    .command('pause <container...>')
    .description('freeze all processes of containers')
    .action((names: string[]) =>
      each(names, ({ engine, signal }, container) =>
        unary(engine.containerPause.bind(engine), { container }, { signal }),
      ),
    );
  program
    .command('unpause <container...>')
    .description('let paused containers go on')
    .action((names: string[]) =>
      each(names, ({ engine, signal }, container) =>
        unary(engine.containerUnpause.bind(engine), { container }, { signal }),
      ),
    );
  program
    .command('rename <container> <name>')
    .description('give a container another name')
    .action((container: string, name: string) =>
      withEngine(async ({ engine, signal }) => {
        await unary(engine.containerRename.bind(engine), { container, name }, { signal });
      }),
    );
  registerRemove(program);
  registerWait(program);
}

function registerRemove(program: Command): void {
  program
    .command('rm <container...>')
    .description('remove containers, and all they have written')
    .option('-f, --force', 'kill those that run first; an unknown one is no error', false)
    .option('-v, --volumes', 'also their anonymous volumes', false)
    .action((names: string[], flags: { force: boolean; volumes: boolean }) =>
      each(names, async ({ engine, signal }, container) => {
        const request = { container, ...flags };
        try {
          await unary(engine.containerRemove.bind(engine), request, { signal });
        } catch (error) {
          if (!flags.force || !isKind(error, 'not-found')) throw error;
          note(`error: ${describeError(error)}`);
          return 'nothing done';
        }
        return undefined;
      }),
    );
  program
    .command('container')
    .description('all containers of this node at once')
    .command('prune')
    .description('remove all containers that do not run')
    .option('-f, --force', 'do not ask', false)
    .option('--older-than <duration>', 'only those that ended before', durationOption, 0)
    .action((flags: { force: boolean; olderThan: number }) =>
      withEngine(async ({ engine, signal }) => {
        await confirm('This will remove all containers that do not run.', flags.force);
        const request = { olderThanMs: flags.olderThan };
        const pruned = await unary(engine.containerPrune.bind(engine), request, { signal });
        print(pruned.removed.join('\n'));
        print(`Total reclaimed space: ${formatBytes(pruned.reclaimedBytes)}`);
      }),
    );
}

function registerWait(program: Command): void {
  program
    .command('wait <container...>')
    .description('wait until containers have ended, and print their exit codes')
    .addOption(
      new Option('--condition <condition>', 'what to wait for')
        .choices(['not-running', 'next-exit', 'removed', 'healthy'])
        .default('not-running'),
    )
    .action((names: string[], { condition }: { condition: string }) =>
      withEngine(async ({ engine, signal }) => {
        const ended = await Promise.all(
          names.map((container) =>
            unary(engine.containerWait.bind(engine), { container, condition }, { signal }),
          ),
        );
        for (const { state } of ended) print(String(state?.exitCode ?? 0));
      }),
    );
}

function asStopping(command: Command): Command {
  return command
    .option('-t, --timeout <seconds>', 'grace before they are killed', integerOption)
    .addOption(new Option('--time <seconds>').argParser(integerOption).hideHelp())
    .option('-s, --signal <signal>', 'instead of their own stop signal');
}

function stopRequest(
  container: string,
  flags: StopFlags,
): { container: string; signal: string; graceMs?: number } {
  const { timeout = flags.time, signal = '' } = flags;
  return { container, signal, ...(timeout !== undefined && { graceMs: timeout * 1000 }) };
}

/** Does the same with each container, and prints each name, unless there was nothing to do. */
export async function each(
  names: readonly string[],
  act: (session: EngineSession, name: string) => Promise<unknown>,
): Promise<void> {
  await forEach(names, async (session, name) => {
    if ((await act(session, name)) !== 'nothing done') print(name);
  });
}
