import type { Command } from 'commander';
import type { Node } from '../../common/model/objects.js';
import { unary } from '../../proto/wire/client.js';
import { getNode, hostnames, listNodes, listTasks } from '../api.js';
import { oneByOne } from '../for-each.js';
import { formatListing, formatObject } from '../output/listing.js';
import { nodeText } from '../output/node-details.js';
import { NODES } from '../output/node-rows.js';
import { print } from '../output/print.js';
import { nodeRow, taskRow } from '../output/rows.js';
import { formatTasks } from '../output/task-rows.js';
import { withControl, type Session } from '../session.js';
import { registerNodeChanges } from './node-update.js';
import { asInspect, asListing, type InspectOptions, type ListingOptions } from './options.js';
import { asPs, type PsOptions } from './task.js';

/** What people call the node whose manager they talk to. */
const SELF = 'self';

/** `hatoba node ls|inspect|ps|update|drain|activate|pause|promote|demote|rm`. */
export function registerNode(program: Command): void {
  const node = program.command('node').description('the machines of the cluster');
  asListing(node.command('ls').description('list nodes')).action((options: ListingOptions) =>
    withControl((session) => list(session, options)),
  );
  asInspect(
    node
      .command('inspect [node...]')
      .description('show all of nodes; "self" is the one you are on'),
  )
    .option('--pretty', 'for people', false)
    .action((names: string[], options: InspectOptions & { pretty: boolean }) =>
      withControl((session) => inspect(session, orSelf(names), options)),
    );
  asPs(node.command('ps [node...]').description('list the tasks of nodes'), { all: true }).action(
    (names: string[], options: PsOptions) =>
      withControl((session) => listTasksOf(session, orSelf(names), options)),
  );
  registerNodeChanges(node);
  registerRemoval(node);
}

function orSelf(names: readonly string[]): readonly string[] {
  return names.length === 0 ? [SELF] : names;
}

/** @returns the id of the node where the manager that answers runs */
async function selfId({ control, signal }: Session): Promise<string> {
  return (await unary(control.getSystemInfo.bind(control), {}, { signal })).nodeId;
}

async function find(session: Session, name: string): Promise<Node> {
  return await getNode(session, name === SELF ? await selfId(session) : name);
}

async function list(session: Session, options: ListingOptions): Promise<void> {
  const [nodes, self] = await Promise.all([listNodes(session), selfId(session)]);
  const rows = nodes.map((node) => ({ ...nodeRow(node), self: node.id === self }));
  print(formatListing(rows, NODES, options));
}

async function inspect(
  session: Session,
  names: readonly string[],
  options: InspectOptions & { pretty: boolean },
): Promise<void> {
  const found: Node[] = [];
  for (const name of names) found.push(await find(session, name));
  if (options.pretty) {
    const texts: string[] = [];
    for (const node of found) {
      const tasks = await listTasks(session, { node: node.id, history: true });
      texts.push(nodeText(node, tasks, Date.now()));
    }
    print(texts.join('\n\n'));
    return;
  }
  const shown = found.map((node) => ({ ...nodeRow(node), object: node }));
  const [first] = shown;
  print(formatObject(shown.length === 1 && first !== undefined ? first : shown, options));
}

async function listTasksOf(
  session: Session,
  names: readonly string[],
  options: PsOptions,
): Promise<void> {
  const nodes: Node[] = [];
  for (const name of names) nodes.push(await find(session, name));
  const ids = [...new Set(nodes.map((n) => n.id))];
  const lists = await Promise.all(
    ids.map((node) => listTasks(session, { node, history: options.all })),
  );
  const known = await hostnames(session);
  print(
    formatTasks(
      lists.flat().map((t) => taskRow(t, known)),
      options,
    ),
  );
}

function registerRemoval(node: Command): void {
  node
    .command('rm <node...>')
    .description('take nodes that are down out of the cluster, for good')
    .option('-f, --force', 'also those that are not down: their containers run on', false)
    .action((names: string[], { force }: { force: boolean }) =>
      withControl(({ control, signal }) =>
        oneByOne(signal, names, async (name) => {
          await unary(control.removeNode.bind(control), { node: name, force }, { signal });
          print(name);
        }),
      ),
    );
}
