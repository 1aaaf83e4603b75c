import type { Command } from 'commander';
import { HatobaError } from '../../common/errors.js';
import type { ServiceRevision } from '../../common/model/objects.js';
import { UpdateState } from '../../proto/gen/hatoba/v1/types.js';
import type { RolloutRequest } from '../../proto/gen/hatoba/v1/control.js';
import { unary } from '../../proto/wire/client.js';
import { getService, listRevisions, listTasks, networkNames } from '../api.js';
import { waitForServices } from '../converge.js';
import { formatListing, formatObject } from '../output/listing.js';
import { print } from '../output/print.js';
import { REVISIONS, revisionRow, rolloutLine } from '../output/revisions.js';
import { specDiff } from '../output/spec-diff.js';
import { withControl, type Session } from '../session.js';
import {
  asListing,
  asWaiting,
  integerOption,
  withTimeout,
  type ListingOptions,
  type WaitingOptions,
} from './options.js';
import { asRollback, finish, rollBack, type RollbackFlags } from './service.js';

/** `hatoba rollout status|pause|resume|restart|undo|history|diff`. */
export function registerRollout(program: Command): void {
  const rollout = program
    .command('rollout')
    .description('how changes of a service reach its tasks, and what it was before');
  registerStatus(rollout);
  registerSteps(rollout);
  asRollback(rollout.command('undo <service>')).action((name: string, flags: RollbackFlags) =>
    withControl((session) => rollBack(session, name, flags)),
  );
  registerHistory(rollout);
}

function registerStatus(rollout: Command): void {
  withTimeout(
    rollout
      .command('status <service>')
      .description('wait until an update is over, and say how it went')
      .option('-w, --watch', 'wait (the default)', true)
      .option('--no-watch', 'only say how far it is'),
  ).action((name: string, flags: StatusFlags) =>
    withControl((session) => showStatus(session, name, flags)),
  );
}

interface StatusFlags {
  watch: boolean;
  timeout: number;
}

async function showStatus(session: Session, name: string, flags: StatusFlags): Promise<void> {
  const { id, updateStatus } = await getService(session, name);
  if (flags.watch) {
    // An update that goes back meanwhile has failed; a rollback that was under way has not.
    const rollbackFails = updateStatus?.state !== UpdateState.ROLLBACK_STARTED;
    await waitForServices(session, [id], { timeoutMs: flags.timeout, rollbackFails });
  }
  const [service, tasks] = await Promise.all([
    getService(session, id),
    listTasks(session, { service: id }),
  ]);
  print(rolloutLine(service, tasks));
}

function registerSteps(rollout: Command): void {
  const step =
    (what: 'pauseRollout' | 'resumeRollout') =>
    (name: string): Promise<void> =>
      withControl(async (session) => {
        await call(session, what, name);
        print(name);
      });
  rollout
    .command('pause <service>')
    .description('stop an update where it is')
    .action(step('pauseRollout'));
  rollout
    .command('resume <service>')
    .description('let a paused update go on')
    .action(step('resumeRollout'));
  asWaiting(
    rollout
      .command('restart <service...>')
      .description('replace the tasks by equal ones, as an update does'),
  ).action((names: string[], options: WaitingOptions) =>
    withControl(async (session) => {
      const ids: string[] = [];
      for (const name of names) ids.push(await call(session, 'restartService', name));
      await finish(session, ids, options);
    }),
  );
}

/** @returns the service's id */
async function call(
  { control, signal }: Session,
  what: 'pauseRollout' | 'resumeRollout' | 'restartService',
  service: string,
): Promise<string> {
  const request: RolloutRequest = { service, version: 0 };
  const { id } = await unary(control[what].bind(control), request, { signal });
  return id;
}

interface HistoryFlags extends ListingOptions {
  revision?: number;
}

function registerHistory(rollout: Command): void {
  asListing(rollout.command('history <service>').description('list the revisions of a service'))
    .option('--revision <n>', 'show the whole spec of this one', integerOption)
    .action((name: string, flags: HistoryFlags) =>
      withControl(async (session) => {
        const revisions = await listRevisions(session, name);
        if (flags.revision === undefined) {
          print(formatListing(revisions.map(revisionRow), REVISIONS, flags));
          return;
        }
        const { spec, ...found } = find(revisions, name, flags.revision);
        const row = revisionRow({ spec, ...found }, revisions[0]?.number === found.number ? 0 : 1);
        const output = flags.output === 'json' ? 'json' : 'yaml';
        print(formatObject({ ...row, spec }, { ...flags, output }));
      }),
    );
  rollout
    .command('diff <service> [from] [to]')
    .description('show what differs between two revisions; by default the last two')
    .action((name: string, from?: string, to?: string) =>
      withControl(async (session) => {
        const revisions = await listRevisions(session, name);
        const [newest, former] = revisions;
        if (newest === undefined) throw new HatobaError('not-found', `${name} has no revisions`);
        const after = to === undefined ? newest : find(revisions, name, integerOption(to));
        const before =
          from === undefined ? (former ?? newest) : find(revisions, name, integerOption(from));
        print(withNames(specDiff(before.spec, after.spec).join('\n'), await networkNames(session)));
      }),
    );
}

/** Specs are stored with the ids of their networks. */
function withNames(text: string, names: ReadonlyMap<string, string>): string {
  return [...names].reduce((named, [id, name]) => named.replaceAll(id, name), text);
}

/** @throws {HatobaError} not-found, naming those there are */
function find(
  revisions: readonly ServiceRevision[],
  service: string,
  number: number,
): ServiceRevision {
  const found = revisions.find((r) => r.number === number);
  if (found !== undefined) return found;
  const numbers = revisions.map((r) => r.number).join(', ');
  throw new HatobaError(
    'not-found',
    `service ${service} has no revision ${number}: these exist: ${numbers}`,
  );
}
