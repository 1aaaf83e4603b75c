#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { errnoOf } from '../common/errors.js';
import { HATOBA_VERSION } from '../common/version.js';
import { EXIT, errorText, exitCodeOf } from './failure.js';

/**
 * Each group of commands is loaded only when it is called, so that `hatoba --version` and `--help`
 * do not wait for gRPC.
 */
const GROUPS: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  init: async () => (await import('./commands/cluster.js')).registerCluster,
  join: async () => (await import('./commands/cluster.js')).registerCluster,
  token: async () => (await import('./commands/token.js')).registerToken,
  node: async () => (await import('./commands/node.js')).registerNode,
  deploy: async () => (await import('./commands/stack.js')).registerStack,
  stack: async () => (await import('./commands/stack.js')).registerStack,
  service: async () => (await import('./commands/service.js')).registerService,
  task: async () => (await import('./commands/task.js')).registerTask,
  image: async () => (await import('./commands/image.js')).registerImage,
  run: async () => (await import('./commands/container-run.js')).registerContainerRun,
  create: async () => (await import('./commands/container-run.js')).registerContainerRun,
  start: async () => (await import('./commands/container-run.js')).registerContainerRun,
  ps: async () => (await import('./commands/container-ls.js')).registerContainerListings,
  inspect: async () => (await import('./commands/container-ls.js')).registerContainerListings,
  port: async () => (await import('./commands/container-ls.js')).registerContainerListings,
  logs: async () => (await import('./commands/container-logs.js')).registerContainerLogs,
  stop: async () => (await import('./commands/container-life.js')).registerContainerLife,
  restart: async () => (await import('./commands/container-life.js')).registerContainerLife,
  kill: async () => (await import('./commands/container-life.js')).registerContainerLife,
  pause: async () => (await import('./commands/container-life.js')).registerContainerLife,
  unpause: async () => (await import('./commands/container-life.js')).registerContainerLife,
  rename: async () => (await import('./commands/container-life.js')).registerContainerLife,
  rm: async () => (await import('./commands/container-life.js')).registerContainerLife,
  container: async () => (await import('./commands/container-life.js')).registerContainerLife,
  wait: async () => (await import('./commands/container-life.js')).registerContainerLife,
  login: async () => (await import('./commands/registry.js')).registerRegistry,
  logout: async () => (await import('./commands/registry.js')).registerRegistry,
  system: async () => (await import('./commands/system.js')).registerSystem,
  dev: async () => (await import('./commands/dev.js')).registerDev,
};

async function main(args: readonly string[]): Promise<void> {
  const program = new Command('hatoba')
    .description('Run containers across machines: declare services, Hatoba keeps them running.')
    .version(HATOBA_VERSION, '--version', 'print the version')
    .enablePositionalOptions()
    .showHelpAfterError('(add --help for the usage)')
    .configureHelp({ sortSubcommands: false });
  const wanted = GROUPS[args[0] ?? ''];
  const registers = new Set(
    await Promise.all(
      wanted === undefined && args[0] !== '--version'
        ? Object.values(GROUPS).map((load) => load())
        : [wanted?.()].filter((r) => r !== undefined),
    ),
  );
  for (const register of registers) register(program);
  exitOnUsageErrors(program);
  await program.parseAsync(args, { from: 'user' });
}

/** Wrong usage is exit code 2; help and version are 0. */
function exitOnUsageErrors(command: Command): void {
  command.exitOverride();
  command.commands.forEach(exitOnUsageErrors);
}

/** Whoever read the output has what it wanted (`| head`): the end, and no error. */
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error) => {
    if (errnoOf(error) === 'EPIPE') process.exit(0);
    throw error;
  });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 || error.code === 'commander.help' ? 0 : EXIT.usage;
  } else {
    const text = errorText(error);
    if (text !== '') process.stderr.write(`${text.trimEnd()}\n`);
    process.exitCode = exitCodeOf(error);
  }
}
