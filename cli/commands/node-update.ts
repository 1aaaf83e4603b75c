import { Option, type Command } from 'commander';
import type { Node } from '../../common/model/objects.js';
import { NodeAvailability, NodeRole } from '../../proto/gen/hatoba/v1/types.js';
import { unary } from '../../proto/wire/client.js';
import { checkNode } from '../../proto/wire/check.js';
import { getNode } from '../api.js';
import { waitUntilDrained } from '../drain.js';
import { UsageError } from '../failure.js';
import { oneByOne } from '../for-each.js';
import { print } from '../output/print.js';
import { withControl, type Session } from '../session.js';
import { withoutConflict } from '../without-conflict.js';
import { changedNodeSpec, NO_CHANGE, parseNewTaint, type NodeChange } from '../words/node.js';
import { parseTaintWords } from '../words/taints.js';
import { asWaiting, collect, toMap, type WaitingOptions } from './options.js';

const AVAILABILITIES = {
  active: NodeAvailability.ACTIVE,
  pause: NodeAvailability.PAUSE,
  drain: NodeAvailability.DRAIN,
} as const;
const ROLES = { worker: NodeRole.WORKER, manager: NodeRole.MANAGER } as const;

/** `hatoba node update|drain|activate|pause|promote|demote`. */
export function registerNodeChanges(node: Command): void {
  registerUpdate(node);
  registerDrain(node);
  const steps = {
    activate: ['give nodes new tasks again', { availability: NodeAvailability.ACTIVE }],
    pause: ['give nodes no new tasks; what they run, they keep', { availability: NodeAvailability.PAUSE }],
    promote: ['make nodes managers', { role: NodeRole.MANAGER }],
    demote: ['make managers workers', { role: NodeRole.WORKER }],
  } as const; // prettier-ignore
  for (const [name, [description, change]] of Object.entries(steps)) {
    node
      .command(`${name} <node...>`)
      .description(description)
      .action((names: string[]) =>
        withControl((session) =>
          oneByOne(session.signal, names, async (n) => {
            await changeNode(session, n, { ...NO_CHANGE, ...change });
            print(n);
          }),
        ),
      );
  }
}

interface UpdateFlags {
  availability?: keyof typeof AVAILABILITIES;
  role?: keyof typeof ROLES;
  name?: string;
  labelAdd: string[];
  labelRm: string[];
  taintAdd: string[];
  taintRm: string[];
}

function registerUpdate(node: Command): void {
  const list = (flags: string, description: string): Option =>
    new Option(flags, `${description}; repeatable`).argParser(collect).default([], 'none');
  const choice = (flags: string, description: string, words: object): Option =>
    new Option(flags, description).choices(Object.keys(words));
  node
    .command('update <node>')
    .description('change what a node is for')
    .addOption(choice('--availability <word>', 'whether it gets and keeps tasks', AVAILABILITIES))
    .addOption(choice('--role <role>', 'worker or manager', ROLES))
    .option('--name <name>', 'what it is called instead of its host name; "" takes it away')
    .addOption(list('--label-add <key[=value]>', 'add or change a label'))
    .addOption(list('--label-rm <key>', 'remove a label'))
    .addOption(list('--taint-add <key[=value]:effect>', 'keep off tasks that do not tolerate it'))
    .addOption(list('--taint-rm <key[=value][:effect]>', 'remove taints'))
    .action((name: string, flags: UpdateFlags) =>
      withControl(async (session) => {
        await changeNode(session, name, changeOf(flags));
        print(name);
      }),
    );
}

/** @throws {UsageError} when nothing is to change */
function changeOf({ availability, role, name, ...lists }: UpdateFlags): NodeChange {
  const words = [availability, role, name, ...Object.values(lists).flat()];
  if (words.every((word) => word === undefined)) {
    throw new UsageError('say what to change, such as --label-add zone=a; --help lists all flags');
  }
  return {
    ...(availability === undefined ? {} : { availability: AVAILABILITIES[availability] }),
    ...(role === undefined ? {} : { role: ROLES[role] }),
    ...(name === undefined ? {} : { name }),
    labelAdd: toMap(lists.labelAdd, '--label-add', true),
    labelRm: lists.labelRm,
    taintAdd: lists.taintAdd.map(parseNewTaint),
    taintRm: lists.taintRm.map(parseTaintWords),
  };
}

function registerDrain(node: Command): void {
  asWaiting(
    node
      .command('drain <node...>')
      .description('move all tasks of nodes elsewhere, and wait until they are gone'),
  ).action((names: string[], { detach, timeout }: WaitingOptions) =>
    withControl(async (session) => {
      const drained: string[] = [];
      await oneByOne(session.signal, names, async (name) => {
        const change = { ...NO_CHANGE, availability: NodeAvailability.DRAIN };
        drained.push((await changeNode(session, name, change)).id);
        if (detach) print(name);
      });
      if (detach) return;
      await waitUntilDrained(session, [...new Set(drained)], timeout);
      for (const name of names) print(name);
    }),
  );
}

/** @returns the node as it is then */
async function changeNode(session: Session, name: string, change: NodeChange): Promise<Node> {
  const { control, signal } = session;
  return await withoutConflict(async () => {
    const { id, version, spec } = await getNode(session, name);
    const request = { node: id, version, spec: changedNodeSpec(spec, change) };
    return checkNode(await unary(control.updateNode.bind(control), request, { signal }));
  });
}
