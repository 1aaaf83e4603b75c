import type { Command } from 'commander';
import { withEngine, type EngineSession } from '../engine-session.js';
import { ExitCodeError } from '../failure.js';
import { note } from '../output/print.js';
import { readFile } from '../run/create-container.js';
import { toEnv } from '../run/create-request.js';
import { execInContainer } from '../terminal/exec-container.js';
import { collect } from './options.js';
import { withoutDashes } from './task.js';

interface ExecFlags {
  interactive: boolean;
  tty: boolean;
  detach: boolean;
  detachKeys: string;
  env: string[];
  envFile: string[];
  user: string;
  workdir: string;
  privileged: boolean;
}

/** `hatoba exec`. */
export function registerExec(program: Command): void {
  program
    .command('exec <container> <command...>')
    .description('run a further command in a running container')
    .option('-i, --interactive', 'pass stdin on', false)
    .option('-t, --tty', 'give it a terminal', false)
    .option('-d, --detach', 'let it run in the background', false)
    .option('--detach-keys <keys>', 'leave it running: ctrl-p,ctrl-q', '')
    .option('-e, --env <NAME=value>', 'set a variable; repeatable', collect, [])
    .option('--env-file <file>', 'read variables from a file', collect, [])
    .option('-u, --user <user>', 'user[:group]', '')
    .option('-w, --workdir <dir>', 'working directory', '')
    .option('--privileged', 'with all capabilities of this machine', false)
    .passThroughOptions()
    .action((container: string, words: string[], flags: ExecFlags) =>
      withEngine((session) => exec(session, container, withoutDashes(words), flags)),
    );
}

async function exec(
  session: EngineSession,
  container: string,
  command: readonly string[],
  flags: ExecFlags,
): Promise<void> {
  const { interactive: stdin, workdir: dir, user, tty, detach, detachKeys, privileged } = flags;
  const env = toEnv(flags, { variables: session.config.variables, readFile });
  const options = { user, dir, stdin, tty, detach, detachKeys, privileged };
  const result = await execInContainer(session, { container, command, env, ...options });
  if (result.kind === 'detached') note(`left the command running in ${container}`);
  else if (result.exitCode !== 0) throw new ExitCodeError(result.exitCode);
}
