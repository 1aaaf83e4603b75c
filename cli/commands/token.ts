import { Argument, type Command } from 'commander';
import type { JoinTokens } from '../../proto/gen/hatoba/v1/types.js';
import { NodeRole } from '../../proto/gen/hatoba/v1/types.js';
import { unary } from '../../proto/wire/client.js';
import { print } from '../output/print.js';
import { withControl } from '../session.js';

type RoleWord = 'worker' | 'manager';

/** `hatoba token show|rotate worker|manager`. */
export function registerToken(program: Command): void {
  const token = program.command('token').description('what a machine needs to join the cluster');
  const role = (): Argument =>
    new Argument('<role>', 'what the machine becomes').choices(['worker', 'manager']);
  token
    .command('show')
    .description('print the join token of a role')
    .addArgument(role())
    .action((word: RoleWord) =>
      withControl(async ({ control, signal }) => {
        const tokens = await unary(control.getJoinTokens.bind(control), {}, { signal });
        print(tokenOf(tokens, word));
      }),
    );
  token
    .command('rotate')
    .description('replace the join token of a role; nodes that joined stay')
    .addArgument(role())
    .action((word: RoleWord) =>
      withControl(async ({ control, signal }) => {
        const request = { role: word === 'manager' ? NodeRole.MANAGER : NodeRole.WORKER };
        const tokens = await unary(control.rotateJoinToken.bind(control), request, { signal });
        print(tokenOf(tokens, word));
      }),
    );
}

function tokenOf(tokens: JoinTokens, word: RoleWord): string {
  return word === 'manager' ? tokens.manager : tokens.worker;
}
