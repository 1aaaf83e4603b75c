import type { Command } from 'commander';
import { unary } from '../../proto/wire/client.js';
import { checkNode } from '../../proto/wire/check.js';
import { listNodes } from '../api.js';
import { formatListing, formatObject, type Listing } from '../output/listing.js';
import { print } from '../output/print.js';
import { nodeRow, type NodeRow } from '../output/rows.js';
import { withControl } from '../session.js';
import { asInspect, asListing, type InspectOptions, type ListingOptions } from './options.js';

const NODES: Listing<NodeRow> = {
  key: (n) => n.id,
  columns: [
    { title: 'ID', value: (n) => n.id.slice(0, 12) },
    { title: 'HOSTNAME', value: (n) => n.hostname },
    { title: 'STATE', value: (n) => n.state },
    { title: 'AVAILABILITY', value: (n) => n.availability },
    { title: 'ROLE', value: (n) => (n.leader ? `${n.role} (leader)` : n.role) },
    { title: 'ADDRESS', value: (n) => n.address },
    { title: 'ENGINE', value: (n) => n.engineVersion, wide: true },
    { title: 'MESSAGE', value: (n) => n.message, wide: true },
  ],
};

/** `hatoba node ls|inspect`. */
export function registerNode(program: Command): void {
  const node = program.command('node').description('the machines of the cluster');
  asListing(node.command('ls').description('list nodes')).action((options: ListingOptions) =>
    withControl(async (session) => {
      print(formatListing((await listNodes(session)).map(nodeRow), NODES, options));
    }),
  );
  asInspect(node.command('inspect <node>').description('show all of a node')).action(
    (name: string, options: InspectOptions) =>
      withControl(async ({ control, signal }) => {
        const found = await unary(control.getNode.bind(control), { node: name }, { signal });
        print(formatObject({ ...nodeRow(checkNode(found)), object: found }, options));
      }),
  );
}
