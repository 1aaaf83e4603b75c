import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { Writable } from 'node:stream';
import type { Command } from 'commander';
import { registryOfServer } from '../../common/registry-credentials.js';
import { unary } from '../../proto/wire/client.js';
import { readConfig } from '../config.js';
import { dropCredentials, keepCredentials } from '../credentials.js';
import { withEngine } from '../engine-session.js';
import { UsageError } from '../failure.js';
import { note, print } from '../output/print.js';

interface LoginFlags {
  username?: string;
  password?: string;
  passwordStdin?: boolean;
}

/** `hatoba login|logout`. */
export function registerRegistry(program: Command): void {
  program
    .command('login [server]')
    .description('log in to a registry; docker.io if none is named')
    .option('-u, --username <name>', 'who you are there')
    .option(
      '-p, --password <password>',
      'seen by everybody on this machine: rather --password-stdin',
    )
    .option('--password-stdin', 'read the password from stdin')
    .action((server: string | undefined, flags: LoginFlags) => login(server ?? '', flags));
  program
    .command('logout [server]')
    .description('forget the credentials for a registry')
    .action(async (server: string | undefined) => {
      const registry = registryOfServer(server ?? '');
      const had = await dropCredentials(readConfig(), registry);
      print(had ? `Removed the login at ${registry}` : `Not logged in at ${registry}`);
    });
}

async function login(server: string, flags: LoginFlags): Promise<void> {
  const registry = registryOfServer(server);
  const { username, password } = await askFor(flags);
  await withEngine(async ({ config, engine, signal }) => {
    const auth = { username, password, identityToken: '' };
    const request = { server: registry, auth };
    const answer = await unary(engine.registryLogin.bind(engine), request, { signal });
    const { identityToken } = answer;
    const path = await keepCredentials(config, registry, { ...auth, identityToken });
    note(`kept in ${path}`);
    print('Login Succeeded');
  });
}

async function askFor(flags: LoginFlags): Promise<{ username: string; password: string }> {
  if (flags.password !== undefined && flags.passwordStdin === true) {
    throw new UsageError('--password and --password-stdin exclude each other');
  }
  if (flags.passwordStdin === true && flags.username === undefined) {
    throw new UsageError('--password-stdin needs --username');
  }
  const isTerminal = process.stdin.isTTY;
  if (!isTerminal && (flags.username ?? flags.password) === undefined) {
    throw new UsageError('no terminal to ask at: give --username and --password-stdin');
  }
  const username = flags.username ?? (await prompt('Username: ', true));
  if (flags.password !== undefined) return { username, password: flags.password };
  if (flags.passwordStdin !== true && !isTerminal) {
    throw new UsageError('no terminal to ask for the password: give --password-stdin');
  }
  const password =
    flags.passwordStdin === true
      ? (await text(process.stdin)).replace(/\r?\n$/, '')
      : await prompt('Password: ', false);
  return { username, password };
}

/** Asks at the terminal. @param isShown whether the answer may be seen as it is typed */
async function prompt(question: string, isShown: boolean): Promise<string> {
  process.stderr.write(question);
  const silent = new Writable({
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
  const terminal = createInterface({
    input: process.stdin,
    output: isShown ? process.stderr : silent,
    terminal: true,
  });
  try {
    return await new Promise<string>((resolve, reject) => {
      terminal.once('line', resolve);
      terminal.once('close', () => {
        reject(new UsageError('nothing was given'));
      });
    });
  } finally {
    terminal.close();
    if (!isShown) process.stderr.write('\n');
  }
}
