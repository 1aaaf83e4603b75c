import assert from 'node:assert/strict';
import { COMMAND_GROUPS } from '../../../cli/command-groups.js';
import { fromDocker } from '../../../cli/docker-words.js';

describe('fromDocker', () => {
  const EXAMPLES: readonly [typed: string, called: string][] = [
    ['images -q', 'image ls -q'],
    ['rmi -f web:1', 'image rm -f web:1'],
    ['pull web:1', 'image pull web:1'],
    ['events --since 1m', 'system events --since 1m'],
    ['container ls -a', 'ps -a'],
    ['container list', 'ps'],
    ['container run -d web:1 images', 'run -d web:1 images'],
    ['container remove web', 'rm web'],
    ['container prune -f', 'container prune -f'],
    ['container', 'container'],
    ['container --help', 'container --help'],
    ['volume list', 'volume ls'],
    ['image remove web:1', 'image rm web:1'],
    ['run web:1 images', 'run web:1 images'],
    ['constructor', 'constructor'],
    ['', ''],
  ];
  for (const [typed, called] of EXAMPLES) {
    it(`"${typed}" is "${called}"`, () => {
      assert.equal(fromDocker(typed.split(' ')).join(' '), called);
    });
  }

  it('takes no word away that is a command here', () => {
    const commands = COMMAND_GROUPS.flatMap((g) => g.modules.flatMap((m) => m.commands));
    for (const command of commands) assert.deepEqual(fromDocker([command]), [command]);
  });
});
