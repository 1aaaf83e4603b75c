import assert from 'node:assert/strict';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DEFAULT_ID_RANGE } from '../../../runtime/core/id-map.js';
import { readOfferedIds } from '../../../runtime/oci/subordinate-ids.js';
import { aContainer, readOutput, runExec, runToEnd } from '../../support/container-rig.js';
import { useContainerRig } from '../../support/container-suite.js';
import { describeTree } from '../../support/file-tree.js';
import { eventually } from '../../support/eventually.js';

const { uids, gids } = readOfferedIds();

describe('containers with users of their own', () => {
  const rig = useContainerRig();
  let netns: string;

  before(async () => {
    chmodSync(rig().root, 0o711);
    netns = await rig().netns();
  });

  const remapped = (
    id: string,
    args: readonly string[],
    spec: Parameters<typeof aContainer>[2] = {},
  ): ReturnType<typeof aContainer> =>
    aContainer(id, args, { usernsMode: 'remap', ...spec }, { netns });
  const sh = (script: string): string[] => ['sh', '-c', script];
  const layers = (): Record<string, unknown> => describeTree(join(rig().stateDir, 'layers'));
  const upper = (id: string, path: string): string =>
    join(rig().stateDir, 'snapshots', id, 'upper', path);

  it('run as root inside and as nobody known outside', async () => {
    const { containers } = rig();
    await containers.create(
      remapped('root', sh('id -u; id -g; cat /proc/self/uid_map; sleep 1000')),
    );
    const { pid } = await containers.start('root');
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const ids = (line: string): number[] =>
      (new RegExp(`^${line}:\\s+(.*)$`, 'm').exec(status)?.[1] ?? '').split(/\s+/).map(Number);
    assert.deepEqual(new Set(ids('Uid')), new Set([uids.firstId]));
    assert.deepEqual(new Set(ids('Gid')), new Set([gids.firstId]));
    const output = await eventually(async () => {
      const lines = await readOutput(containers, 'root');
      assert.equal(lines.length, 3);
      return lines;
    });
    assert.deepEqual(output.slice(0, 2), ['stdout: 0', 'stdout: 0']);
    assert.match(output[2] ?? '', new RegExp(`0 +${uids.firstId} +${uids.count}$`));
    const stopped = await containers.stop('root', { graceMs: 0 });
    assert.equal(stopped.exitCode, 137);
  });

  it('see the layers as theirs, and write to files of their own only', async () => {
    const before = layers();
    const script = `
      stat -c '%u:%g' /bin/busybox /data /
      echo changed > /data/deep/seed
      chown 33:33 /data/deep/seed
      mkdir /srv; touch /srv/mine; chown -R 1000:1000 /srv; chmod 4755 /srv/mine
      stat -c '%u:%g %a' /data/deep/seed /srv /srv/mine`;
    const { exitCode, output } = await runToEnd(rig().containers, remapped('files', sh(script)));
    assert.deepEqual(
      output,
      ['0:0', '0:0', '0:0', '33:33 644', '1000:1000 755', '1000:1000 4755'].map(
        (line) => `stdout: ${line}`,
      ),
    );
    assert.equal(exitCode, 0);
    const owner = (path: string): number[] => {
      const { uid, gid } = lstatSync(upper('files', path));
      return [uid, gid];
    };
    assert.deepEqual(owner(''), [uids.firstId, gids.firstId]);
    assert.deepEqual(owner('data/deep/seed'), [uids.firstId + 33, gids.firstId + 33]);
    assert.deepEqual(owner('srv/mine'), [uids.firstId + 1000, gids.firstId + 1000]);
    assert.deepEqual(layers(), before, 'layers are as they were');
  });

  it("cannot touch what is the host root's", async () => {
    const folder = join(rig().root, 'host-files');
    mkdirSync(folder, { mode: 0o755 });
    writeFileSync(join(folder, 'readable'), 'for all\n', { mode: 0o644 });
    writeFileSync(join(folder, 'secret'), 'for root', { mode: 0o600 });
    chmodSync(folder, 0o755);
    const script = `
      cat /host/readable
      for try in 'cat /host/secret' 'touch /host/new' 'rm /host/readable' 'chown 0 /host/secret' \\
        'mount -t tmpfs none /mnt' 'cat /proc/1/root/host/secret'; do
        $try 2>/dev/null && echo "$try worked"
      done
      stat -c '%u' /host/secret; echo end`;
    const mounts = [{ type: 'MOUNT_TYPE_BIND' as const, source: folder, target: '/host' }];
    const { output } = await runToEnd(
      rig().containers,
      remapped('bind', sh(script), { mounts, capabilityAdd: ['CAP_SYS_ADMIN'] }),
    );
    // with CAP_SYS_ADMIN in its own namespace it may mount there; nothing of the host changes
    assert.deepEqual(
      output.filter((line) => !line.includes('mount -t tmpfs')),
      ['stdout: for all', 'stdout: 65534', 'stdout: end'],
    );
    assert.deepEqual(readdirSync(folder).sort(), ['readable', 'secret']);
    assert.equal(statSync(join(folder, 'secret')).uid, 0);
  });

  it('have devices, /etc, shared memory, /proc and /sys as others have', async () => {
    const script = `
      echo x > /dev/null; head -c 4 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c
      stat -c '%F' /dev/null /dev/zero /dev/full /dev/tty
      cat /etc/hostname; grep -c localhost /etc/hosts; echo '10.0.0.1 mine' >> /etc/hosts
      touch /dev/shm/x /tmp/x; ls /sys/class/net; test -r /proc/1/environ && echo proc
      cat /proc/sys/kernel/hostname`;
    const { output } = await runToEnd(
      rig().containers,
      remapped('insides', sh(script), { hostname: 'inside' }),
    );
    assert.deepEqual(output.slice(0, 6), [
      'stdout: 4',
      'stdout: 4',
      ...Array.from({ length: 4 }, () => 'stdout: character special file'),
    ]);
    assert.equal(output[6], 'stdout: inside');
    assert.ok(output.includes('stdout: proc'));
    assert.equal(output.at(-1), 'stdout: inside');
    assert.deepEqual(
      output.filter((line) => line.startsWith('stderr')),
      [],
    );
  });

  it('may listen below port 1024 in their own network', async () => {
    const script =
      'nc -ll -p 80 -e echo hello & until nc 127.0.0.1 80 2>/dev/null; do sleep 0.1; done';
    const { output } = await runToEnd(rig().containers, remapped('web', sh(script)));
    assert.deepEqual(
      output.filter((line) => line.startsWith('stdout')),
      ['stdout: hello'],
    );
  });

  it('run commands, health checks and a second time', async () => {
    const { containers } = rig();
    await containers.create(
      remapped('again', sh('echo run >> /count; cat /count; sleep 1000'), {
        healthcheck: {
          test: ['CMD-SHELL', 'test "$(id -u)" = 0'],
          intervalMs: 100,
          timeoutMs: 60_000,
          retries: 1,
        },
      }),
    );
    await containers.start('again');
    const plain = await runExec(containers, 'again', ['id', '-u']);
    assert.deepEqual([plain.exitCode, plain.stdout], [0, '0\n']);
    const web = await runExec(containers, 'again', sh('id -u; touch /tmp/web'), { user: 'web' });
    assert.equal(web.stdout, '33\n');
    const tty = await runExec(containers, 'again', sh('tty; sleep 0.5'), { tty: true });
    assert.match(tty.stdout, /\/dev\/pts\/\d/);
    await eventually(() => {
      assert.equal(containers.get('again')?.health, 'healthy');
    });
    await containers.stop('again', { graceMs: 0 });
    await containers.start('again');
    await eventually(async () => {
      assert.equal((await readOutput(containers, 'again')).length, 3);
    });
    await containers.remove('again', { force: true });
  });

  it('fill their volumes, which are theirs', async () => {
    const { containers } = rig();
    const mounts = [
      { type: 'MOUNT_TYPE_VOLUME' as const, source: 'keep-filled', target: '/data' },
      { type: 'MOUNT_TYPE_VOLUME' as const, source: 'keep-empty', target: '/empty' },
    ];
    const script =
      'cat /data/deep/seed; echo; echo x > /data/deep/new; echo y > /empty/new; ls /empty';
    const one = await runToEnd(containers, remapped('vol1', sh(script), { mounts }));
    assert.deepEqual(one.output, ['stdout: from the image', 'stdout: new']);
    const data = join(rig().stateDir, 'volumes/keep-empty/_data');
    assert.equal(statSync(data).uid, uids.firstId);
    const two = await runToEnd(containers, remapped('vol2', sh('cat /empty/new'), { mounts }));
    assert.deepEqual(two.output, ['stdout: y']);
  });

  it('work with a terminal, an init and a user of the image', async () => {
    const { containers } = rig();
    const tty = await runToEnd(containers, remapped('tty', ['tty'], { tty: true }));
    assert.match(tty.output[0] ?? '', /\/dev\/pts\/0|\/dev\/console/);
    const init = await runToEnd(containers, remapped('init', ['id', '-u'], { init: true }));
    assert.deepEqual(init.output, ['stdout: 0']);
    const web = await runToEnd(containers, remapped('user', [], { image: 'box-web', args: [] }));
    assert.deepEqual(web.output, ['stdout: /srv/new', 'stdout: 33']);
    const dir = await runToEnd(
      containers,
      remapped('dir', sh('pwd; stat -c %u . ..; touch here'), { dir: '/made/deep' }),
    );
    assert.deepEqual(dir.output, ['stdout: /made/deep', 'stdout: 0', 'stdout: 0']);
    assert.equal(dir.exitCode, 0);
  });

  const refused = [
    { spec: { usernsMode: 'mine' }, message: /user namespace mode "mine" is unknown/ },
    { spec: { privileged: true }, message: /privileged container cannot have users of its own/ },
    { spec: { pidMode: 'host' }, message: /host's pid namespace/ },
  ];
  for (const { spec, message } of refused) {
    it(`are refused: ${message.source}`, async () => {
      await assert.rejects(rig().containers.create(remapped('no', ['true'], spec)), {
        kind: 'invalid-argument',
        message,
      });
    });
  }

  it('are refused where they could not reach their files', async () => {
    chmodSync(rig().root, 0o700);
    try {
      await assert.rejects(rig().containers.create(remapped('closed', ['true'])), {
        kind: 'failed-precondition',
        message: new RegExp(`cannot reach its files: run "chmod o\\+x ${rig().root}"`),
      });
    } finally {
      chmodSync(rig().root, 0o711);
    }
  });

  it('get ids above those of others by default', () => {
    assert.ok(DEFAULT_ID_RANGE.firstId > 1_879_048_191);
    assert.ok(DEFAULT_ID_RANGE.firstId + DEFAULT_ID_RANGE.count < 2 ** 31);
  });
});
