import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import type { SpawnedProcess, SpawnOptions } from '../../../linux/ports.js';
import { requiresRoot } from '../../support/requires.js';
import { type KernelRig, inventory, openRig } from './rig.js';

const ENV = { PATH: '/usr/bin:/bin' };

describe('Spawner port', () => {
  let rig: KernelRig;
  before(async function () {
    // The worker thread wants a working directory of its own, which needs no root; mounts do.
    requiresRoot(this);
    rig = await openRig();
  });
  after(() => rig.close());

  const shell = (script: string, options: Partial<SpawnOptions> = {}): Promise<SpawnedProcess> =>
    rig.kernel.spawner.spawn({ file: '/bin/sh', args: ['-c', script], env: ENV, ...options });

  /** What the process writes to one descriptor, once it has closed it. */
  async function output(child: SpawnedProcess, fd: number): Promise<string> {
    const end = child.pipes.get(fd);
    assert.ok(end !== undefined);
    return await text(new Socket({ fd: end, readable: true, writable: false }));
  }

  it('tells the exit code, and 128 + signal', async () => {
    const codes = [0, 7, 255].map(async (code) => await (await shell(`exit ${code}`)).exited);
    assert.deepEqual(await Promise.all(codes), [0, 7, 255]);
    assert.equal(await (await shell('kill -9 $$')).exited, 137);
    assert.equal(await (await shell('kill -15 $$')).exited, 143);
  });

  it('connects pipes in both directions, on any descriptor', async () => {
    const child = await shell('cat; echo to-three >&3; read line <&5; echo "$line" >&4', {
      fds: [
        { fd: 0, pipe: 'read' },
        { fd: 1, pipe: 'write' },
        { fd: 3, pipe: 'write' },
        { fd: 4, pipe: 'write' },
        { fd: 5, pipe: 'read' },
      ],
    });
    assert.deepEqual([...child.pipes.keys()], [0, 1, 3, 4, 5]);
    for (const fd of [0, 5]) {
      const end = child.pipes.get(fd) ?? -1;
      writeFileSync(end, `through ${fd}\n`);
      closeSync(end);
    }
    assert.deepEqual(await Promise.all([output(child, 1), output(child, 3), output(child, 4)]), [
      'through 0\n',
      'to-three\n',
      'through 5\n',
    ]);
    assert.equal(await child.exited, 0);
  });

  it('passes descriptors of this process, whatever numbers they have', async () => {
    const file = `${rig.folder}/inherited`;
    const [a, b] = [openSync(file, 'w'), openSync('/dev/null', 'r')];
    const child = await shell('echo one >&4; readlink /proc/self/fd/3 >&4', {
      // Crosswise where the numbers happen to allow it.
      fds: [
        { fd: 3, inherit: b },
        { fd: 4, inherit: a },
      ],
    });
    assert.equal(await child.exited, 0);
    closeSync(a);
    closeSync(b);
    assert.equal(readFileSync(file, 'utf8'), 'one\n/dev/null\n');
    rmSync(file);
  });

  it('gives nothing else: no other descriptor, no environment, no signal dispositions', async () => {
    const fds = [{ fd: 1, pipe: 'write' }] as const;
    const child = await shell('ls /proc/$$/fd; env', { env: { ONLY: 'this' }, fds });
    const lines = (await output(child, 1)).split('\n');
    assert.deepEqual(lines.slice(0, 3), ['0', '1', '2']);
    assert.ok(lines.includes('ONLY=this'));
    assert.ok(!lines.some((line) => line.startsWith('HOME=')));
    assert.equal(await child.exited, 0);
    // Not by a shell, which blocks signals itself while it waits.
    const grep = await rig.kernel.spawner.spawn({
      file: '/bin/grep',
      args: ['-E', '^(SigBlk|SigIgn|Umask)', '/proc/self/status'],
      env: {},
      fds,
    });
    const none = '0'.repeat(16);
    assert.equal(await output(grep, 1), `Umask:\t0022\nSigBlk:\t${none}\nSigIgn:\t${none}\n`);
    assert.equal(await grep.exited, 0);
  });

  it('starts in the folder and session asked for', async () => {
    const child = await shell('pwd; cut -d" " -f6 /proc/$$/stat; echo $$', {
      cwd: rig.folder,
      newSession: true,
      fds: [{ fd: 1, pipe: 'write' }],
    });
    const [cwd, session, pid] = (await output(child, 1)).trim().split('\n');
    assert.equal(cwd, rig.folder);
    assert.equal(session, pid);
    assert.equal(pid, `${child.pid}`);
    await child.exited;
  });

  it('says which program is missing', async () => {
    const attempt = rig.kernel.spawner.spawn({ file: '/bin/ht-none', args: [], env: {} });
    await assert.rejects(attempt, { kind: 'not-found', message: /\/bin\/ht-none.*ENOENT/ });
    await assert.rejects(rig.kernel.spawner.spawn({ file: 'sh', args: [], env: {} }), {
      kind: 'invalid-argument',
    });
    await assert.rejects(shell('true', { fds: [{ fd: 3, inherit: 9999 }] }), /descriptor 9999/);
  });

  it('collects a crowd, and leaves neither zombies nor descriptors', async () => {
    const before = inventory(rig.folder);
    const children = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        shell(`exit ${i}`, { fds: [{ fd: 1, pipe: 'write' }] }),
      ),
    );
    const codes = await Promise.all(children.map((child) => child.exited));
    for (const child of children) closeSync(child.pipes.get(1) ?? -1);
    await assert.rejects(shell('true', { cwd: '/ht-none', fds: [{ fd: 1, pipe: 'write' }] }));
    assert.deepEqual(codes, [...codes.keys()]);
    assert.deepEqual(inventory(rig.folder), before);
  });
});
