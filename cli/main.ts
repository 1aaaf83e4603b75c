#!/usr/bin/env -S node --
// Without the "--", Node itself would take the --env-file of `hatoba run`.
import { Command, CommanderError } from 'commander';
import { errnoOf } from '../common/errors.js';
import { HATOBA_VERSION } from '../common/version.js';
import { COMMAND_GROUPS } from './command-groups.js';
import { fromDocker } from './docker-words.js';
import { EXIT, errorText, exitCodeOf } from './failure.js';
import { HELP } from './output/help.js';

async function main(args: readonly string[]): Promise<void> {
  const program = new Command('hatoba')
    .description('Run containers across machines: declare services, Hatoba keeps them running.')
    .version(HATOBA_VERSION, '--version', 'print the version')
    .enablePositionalOptions()
    .showHelpAfterError('(add --help for the usage)')
    .configureHelp(HELP);
  if (args[0] !== '--version') await register(program, args[0]);
  exitOnUsageErrors(program);
  await program.parseAsync(args, { from: 'user' });
}

/** Adds the command that is called, with those of its module; without a known one, all of them. */
async function register(program: Command, called: string | undefined): Promise<void> {
  const all = COMMAND_GROUPS.flatMap(({ title, modules }) =>
    modules.map((module) => ({ title, module })),
  );
  const wanted = all.filter(({ module }) => module.commands.includes(called ?? ''));
  for (const { title, module } of wanted.length > 0 ? wanted : all) {
    program.commandsGroup(title);
    (await module.load())(program);
  }
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

const args = fromDocker(process.argv.slice(2));
try {
  await main(args);
} catch (error) {
  if (error instanceof CommanderError) {
    const isHelp = error.exitCode === 0 || error.code === 'commander.help';
    process.exitCode = isHelp ? 0 : args[0] === 'run' ? EXIT.neverRan : EXIT.usage;
  } else {
    const text = errorText(error);
    if (text !== '') process.stderr.write(`${text.trimEnd()}\n`);
    process.exitCode = exitCodeOf(error, args[0]);
  }
}
