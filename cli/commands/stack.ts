import { readFile, stat } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parseEnv } from 'node:util';
import type { Command } from 'commander';
import { errnoOf, HatobaError } from '../../common/errors.js';
import { STACK_LABEL } from '../../common/model/labels.js';
import { toWord } from '../../common/model/words.js';
import { unary } from '../../proto/wire/client.js';
import { listServices, listStacks } from '../api.js';
import { inFile } from '../compose/refusal.js';
import {
  formatProblems,
  MAX_FILE_BYTES,
  parseStackFile,
  type ParsedStack,
} from '../compose/stack-file.js';
import { waitForServices } from '../converge.js';
import { UsageError } from '../failure.js';
import { formatListing, type Listing } from '../output/listing.js';
import { note, print } from '../output/print.js';
import { stackRow, type StackRow } from '../output/rows.js';
import { withControl, type Session } from '../session.js';
import {
  asListing,
  asWaiting,
  collect,
  type ListingOptions,
  type WaitingOptions,
} from './options.js';
import { printServices } from './service.js';
import { asPs, printTasks, type PsOptions } from './task.js';

const STACKS: Listing<StackRow> = {
  key: (s) => s.name,
  columns: [
    { title: 'NAME', value: (s) => s.name },
    { title: 'SERVICES', value: (s) => String(s.services) },
    { title: 'CREATED', value: (s) => s.createdAt ?? '' },
    { title: 'UPDATED', value: (s) => s.updatedAt ?? '', wide: true },
    { title: 'ID', value: (s) => s.id, wide: true },
  ],
};

interface DeployFlags extends WaitingOptions {
  file: string[];
  prune: boolean;
}

/** `hatoba deploy` and `hatoba stack …`. */
export function registerStack(program: Command): void {
  asWaiting(
    program.command('deploy <stack>').description('bring a stack to what its file declares'),
  )
    .requiredOption('-f, --file <file>', 'the compose file; "-" for stdin', collect, [])
    .option('--prune', 'remove services that the file no longer has', false)
    .action((name: string, flags: DeployFlags) =>
      withControl((session) => deploy(session, name, flags)),
    );
  const stack = program.command('stack').description('services deployed together');
  asListing(stack.command('ls').description('list stacks')).action((options: ListingOptions) =>
    withControl(async (session) => {
      const [stacks, services] = await Promise.all([listStacks(session), listServices(session)]);
      const rows = stacks.map((s) => {
        const own = services.filter((x) => serviceStack(x.spec.labels) === s.spec.name);
        return stackRow(s, own.length);
      });
      print(formatListing(rows, STACKS, options));
    }),
  );
  asListing(stack.command('services <stack>').description('list the services of a stack')).action(
    (name: string, options: ListingOptions) =>
      withControl(async (session) => {
        await requireStack(session, name);
        await printServices(session, name, options);
      }),
  );
  asPs(stack.command('ps <stack>').description('list the tasks of a stack'), { all: true }).action(
    (name: string, options: PsOptions) =>
      withControl(async (session) => {
        await requireStack(session, name);
        await printTasks(session, { stack: name, history: options.all }, options);
      }),
  );
  asWaiting(stack.command('rm <stack...>').description('remove stacks with all they have')).action(
    (names: string[], options: WaitingOptions) =>
      withControl(async (session) => {
        for (const name of names) await removeStack(session, name, options);
      }),
  );
}

function serviceStack(labels: Readonly<Record<string, string>>): string | undefined {
  return labels[STACK_LABEL];
}

async function requireStack({ control, signal }: Session, stack: string): Promise<void> {
  await unary(control.getStack.bind(control), { stack }, { signal });
}

async function deploy(session: Session, name: string, flags: DeployFlags): Promise<void> {
  const { control, signal } = session;
  const parsed = await readStack(session, name, flags.file);
  const request = { spec: parsed.spec, prune: flags.prune, planOnly: false };
  const { changes } = await unary(control.deployStack.bind(control), request, {
    signal,
    timeoutMs: 30_000,
  }).catch((error: unknown) => {
    throw inFile(error, parsed);
  });
  for (const change of changes) {
    note(`${change.kind} ${change.name}: ${CHANGE_WORDS[toWord(change.action)] ?? ''}`);
  }
  if (flags.detach) return;
  const ids = changes
    .filter((c) => c.kind === 'service' && c.action !== 'STACK_CHANGE_ACTION_REMOVE')
    .map((c) => c.id);
  await waitForServices(session, ids, { timeoutMs: flags.timeout, rollbackFails: true });
  note(`stack ${name} converged: ${ids.length} ${ids.length === 1 ? 'service' : 'services'}`);
}

const CHANGE_WORDS: Readonly<Record<string, string>> = {
  create: 'created',
  update: 'updated',
  remove: 'removed',
  none: 'unchanged',
};

/** @throws {HatobaError} invalid-argument with every mistake of the file, one a line */
async function readStack(
  { config }: Session,
  name: string,
  files: readonly string[],
): Promise<ParsedStack> {
  const [file, second] = files;
  if (file === undefined) throw new UsageError('deploy needs -f FILE');
  if (second !== undefined)
    throw new UsageError('deploy takes one -f FILE; several are not supported yet');
  const baseDir = file === '-' ? process.cwd() : dirname(resolve(file));
  const dotEnv = await readDotEnv(resolve(baseDir, '.env'));
  const parsed = parseStackFile(name, {
    file,
    text: await readText(file),
    baseDir,
    variables: { ...dotEnv, ...config.variables },
    readEnvFile: (path) =>
      Object.entries(parseEnv(readFileSync(resolve(baseDir, path), 'utf8'))).map(
        ([key, value]) => `${key}=${value ?? ''}`,
      ),
  });
  if (parsed.problems.length > 0)
    throw new HatobaError('invalid-argument', `${formatProblems(parsed.problems)}\n`);
  return parsed;
}

async function readText(file: string): Promise<string> {
  if (file === '-') {
    const chunks: Buffer[] = [];
    for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
    return Buffer.concat(chunks).toString('utf8');
  }
  try {
    const { size } = await stat(file);
    if (size > MAX_FILE_BYTES) {
      throw new HatobaError('invalid-argument', `${file} is larger than ${MAX_FILE_BYTES} bytes`);
    }
    return await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw new HatobaError('not-found', `there is no file ${file}`);
  }
}

async function readDotEnv(file: string): Promise<Record<string, string | undefined>> {
  try {
    return parseEnv(await readFile(file, 'utf8'));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return {};
    throw error;
  }
}

async function removeStack(session: Session, name: string, options: WaitingOptions): Promise<void> {
  const { control, signal } = session;
  await unary(control.removeStack.bind(control), { stack: name }, { signal });
  const deadline = Date.now() + options.timeout;
  while (!options.detach && (await listStacks(session)).some((s) => s.spec.name === name)) {
    if (Date.now() > deadline) {
      throw new HatobaError(
        'deadline',
        `stack ${name} still has tasks; see "hatoba stack ps ${name}"`,
      );
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  print(name);
}
