import type { Command } from 'commander';
import { unary } from '../../proto/wire/client.js';
import { withEngine } from '../engine-session.js';
import { ExitCodeError, UsageError } from '../failure.js';
import { print } from '../output/print.js';
import { addContainerOptions, type ContainerFlags } from '../run/container-flags.js';
import { makeContainer, runContainer, type RunFlags } from '../run/run-container.js';
import { joinContainer } from '../terminal/join-container.js';
import { each } from './container-life.js';
import { withSigProxy } from './options.js';

interface StartFlags {
  attach: boolean;
  interactive: boolean;
  detachKeys: string;
  sigProxy: boolean;
}

/** `hatoba run|create|start`. */
export function registerContainerRun(program: Command): void {
  asJoining(
    addContainerOptions(
      program
        .command('run <image> [command...]')
        .description('run a command in a new container on this node')
        .option('-d, --detach', 'let it run in the background, and print its id', false)
        .option('--cidfile <file>', 'write its id to a file'),
    ),
  )
    .passThroughOptions()
    .action((image: string, words: string[], flags: RunFlags) =>
      withEngine((session) => runContainer(session, image, words, flags)),
    );

  addContainerOptions(
    program
      .command('create <image> [command...]')
      .description('make a container on this node without starting it')
      .option('--cidfile <file>', 'write its id to a file'),
  )
    .passThroughOptions()
    .action((image: string, words: string[], flags: ContainerFlags & { cidfile?: string }) =>
      withEngine(async (session) => {
        print(await makeContainer(session, image, words, flags));
      }),
    );

  asJoining(
    program
      .command('start <container...>')
      .description('start containers that were made, or that have ended')
      .option('-a, --attach', 'join it until it ends', false)
      .option('-i, --interactive', 'join it, and pass stdin on', false),
  ).action((names: string[], flags: StartFlags) => {
    if (flags.attach || flags.interactive) return startJoined(names, flags);
    return each(names, ({ engine, signal }, container) =>
      unary(engine.containerStart.bind(engine), { container }, { signal }),
    );
  });
}

function asJoining(command: Command): Command {
  return withSigProxy(
    command.option('--detach-keys <keys>', 'leave it running: ctrl-p,ctrl-q', ''),
  );
}

async function startJoined(names: readonly string[], flags: StartFlags): Promise<void> {
  const [container] = names;
  if (container === undefined || names.length > 1) {
    throw new UsageError('--attach and --interactive take one container');
  }
  await withEngine(async (session) => {
    const { engine, signal } = session;
    const request = { container, size: false };
    const { spec } = await unary(engine.containerInspect.bind(engine), request, { signal });
    const result = await joinContainer(session, {
      container,
      stdin: flags.interactive,
      tty: spec?.tty ?? false,
      detachKeys: flags.detachKeys,
      sigProxy: flags.sigProxy,
      holdsBack: true,
      onAttached: async () => {
        await unary(engine.containerStart.bind(engine), { container }, { signal });
      },
    });
    if (result.kind === 'exited' && result.exitCode !== 0) throw new ExitCodeError(result.exitCode);
  });
}
