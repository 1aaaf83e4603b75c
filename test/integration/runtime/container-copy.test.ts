import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isKind } from '../../../common/errors.js';
import type { Containers } from '../../../runtime/engine.js';
import {
  aContainer,
  openContainerRig,
  runExec,
  runToEnd,
  type ContainerRig,
} from '../../support/container-rig.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { collect, inPieces, tarOf, untar, type TarFile } from '../../support/tar-files.js';

describe('copying into containers and out of them', function () {
  let opened: ContainerRig | undefined;
  let rig: ContainerRig;
  let containers: Containers;
  let outside: string;

  before(async function () {
    requiresRoot(this);
    requiresCommand(this, 'crun');
    rig = opened = await openContainerRig();
    ({ containers } = rig);
    outside = join(rig.root, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'secret'), 'of the host');
  });
  after(async () => {
    await opened?.close();
  });
  afterEach(async () => {
    for (const { config } of containers.list()) await containers.remove(config.id, { force: true });
  });

  async function run(
    id: string,
    spec: Parameters<typeof aContainer>[2] = {},
    script = 'sleep 1000',
  ): Promise<void> {
    await containers.create(aContainer(id, ['sh', '-c', script], spec));
    await containers.start(id);
  }
  async function read(id: string, path: string, followLink = false) {
    const { stat, tar } = await containers.copyFrom(id, path, { followLink });
    return { stat, files: untar(await collect(tar)) };
  }
  function write(id: string, path: string, files: readonly TarFile[], copyOwners = false) {
    return containers.copyTo(id, path, inPieces(tarOf(files)), { copyOwners });
  }
  async function shell(id: string, script: string): Promise<string> {
    const { stdout, stderr, exitCode } = await runExec(containers, id, ['sh', '-c', script]);
    assert.equal(exitCode, 0, stderr);
    return stdout;
  }

  it('copies files out of one that runs, with owners, modes, times and links', async () => {
    await run('c1');
    await shell(
      'c1',
      'mkdir -p /w/d && echo hello > /w/d/f && chmod 4711 /w/d/f && ln /w/d/f /w/d/g && ln -s f /w/d/l',
    );
    const { stat, files } = await read('c1', '/w/d');
    assert.equal(stat.name, 'd');
    assert.deepEqual(
      files.map(({ name, kind, mode, linkName, content }) => [
        name,
        kind,
        mode,
        linkName,
        content.toString(),
      ]),
      [
        ['d/', 'directory', 0o755, '', ''],
        ['d/f', 'file', 0o4711, '', 'hello\n'],
        ['d/g', 'hardlink', 0o4711, 'd/f', ''],
        ['d/l', 'symlink', 0o777, 'f', ''],
      ],
    );
  });

  for (const state of ['created', 'running', 'paused', 'exited'] as const) {
    it(`copies both ways in a container that is ${state}`, async () => {
      const config = aContainer('c2', ['sh', '-c', state === 'exited' ? 'true' : 'sleep 1000'], {
        mounts: [
          { type: 'MOUNT_TYPE_VOLUME', source: 'keep', target: '/vol' },
          { type: 'MOUNT_TYPE_BIND', source: outside, target: '/bind' },
        ],
      });
      if (state === 'exited') await runToEnd(containers, config);
      else await containers.create(config);
      if (state === 'running' || state === 'paused') await containers.start('c2');
      if (state === 'paused') await containers.pause('c2');
      for (const place of ['/root', '/vol', '/bind']) {
        await write('c2', place, [{ name: `f-${state}`, content: place, mode: 0o640 }]);
        const { files } = await read('c2', `${place}/f-${state}`);
        assert.deepEqual(
          files.map(({ name, mode, content }) => [name, mode, content.toString()]),
          [[`f-${state}`, 0o640, place]],
        );
      }
      const bound = readFileSync(join(outside, `f-${state}`), 'utf8');
      assert.equal(bound, '/bind');
      if (state === 'paused') await containers.unpause('c2');
    });
  }

  it('reads and writes a tmpfs while it is there, and says so when it is not', async () => {
    const tmpfs = { mounts: [{ type: 'MOUNT_TYPE_TMPFS' as const, target: '/mem' }] };
    await run('c3', tmpfs);
    await write('c3', '/mem', [{ name: 'f', content: 'in memory' }]);
    assert.equal(await shell('c3', 'cat /mem/f'), 'in memory');
    await containers.stop('c3', { graceMs: 0 });
    await assert.rejects(read('c3', '/mem/f'), { message: /\/mem is in memory/ });
  });

  it('makes root the owner, unless owners are to be kept', async () => {
    await run('c4');
    const files = [{ name: 'f', uid: 33, gid: 33, content: 'x' }];
    await write('c4', '/root', files);
    assert.equal(await shell('c4', 'stat -c %u:%g /root/f'), '0:0\n');
    await write('c4', '/root', files, true);
    assert.equal(await shell('c4', 'stat -c %u:%g /root/f'), '33:33\n');
  });

  it('copies special files, attributes, sparse and odd names', async () => {
    await run('c5');
    const cap = Buffer.from('0100000200040000000000000000000000000000', 'hex');
    await write('c5', '/root', [
      { name: 'pipe', kind: 'fifo', mode: 0o600 },
      { name: 'null', kind: 'character-device', major: 1, minor: 3 },
      { name: 'ping', content: 'x', mode: 0o755, xattrs: new Map([['security.capability', cap]]) },
      { name: 'caf\xe9 \xff', content: 'latin' },
      { name: 'big', content: Buffer.alloc(8 * 1024 * 1024) },
      { name: 'n'.repeat(200), content: 'long', mtimeMs: 1000, mtimeNs: 1_000_000_000n },
    ]);
    const { files } = await read('c5', '/root/.');
    const byName = new Map(files.map((file) => [file.name.slice(2), file]));
    assert.equal(byName.get('pipe')?.kind, 'fifo');
    assert.deepEqual([byName.get('null')?.major, byName.get('null')?.minor], [1, 3]);
    assert.deepEqual(byName.get('ping')?.xattrs.get('security.capability'), cap);
    assert.equal(byName.get('caf\xe9 \xff')?.content.toString(), 'latin');
    assert.equal(byName.get('big')?.content.length, 8 * 1024 * 1024);
    assert.equal(byName.get('n'.repeat(200))?.mtimeMs, 1000);
    const blocks = Number(await shell('c5', 'stat -c %b /root/big'));
    assert.ok(blocks < 1024, `the zeros take ${blocks} blocks`);
  });

  it('follows a link at the end only when asked, and keeps the name', async () => {
    await run('c6');
    await shell('c6', 'echo data > /root/real && ln -s /root/real /root/link');
    const plain = await read('c6', '/root/link');
    assert.deepEqual([plain.files[0]?.kind, plain.stat.linkTarget], ['symlink', '/root/real']);
    const { files } = await read('c6', '/root/link', true);
    assert.deepEqual([files[0]?.name, files[0]?.content.toString()], ['link', 'data\n']);
  });

  it('refuses to write where the container could not', async () => {
    const spec = {
      readOnly: true,
      mounts: [
        { type: 'MOUNT_TYPE_VOLUME' as const, source: 'keep', target: '/vol', readOnly: true },
      ],
    };
    await run('c7', spec);
    const file = [{ name: 'f', content: 'x' }];
    for (const state of ['running', 'exited']) {
      if (state === 'exited') await containers.stop('c7', { graceMs: 0 });
      for (const place of ['/root', '/vol']) {
        await assert.rejects(write('c7', place, file), {
          kind: 'failed-precondition',
          message: /read-only/,
        });
      }
    }
  });

  it('says what is not there, and what stands in the way', async () => {
    await run('c8');
    await shell('c8', 'mkdir /root/d && echo x > /root/f');
    await assert.rejects(read('c8', '/none/x'), {
      kind: 'not-found',
      message: /container c8.*\/none/,
    });
    await assert.rejects(write('c8', '/none', []), { kind: 'not-found' });
    await assert.rejects(write('c8', '/root/f', []), { message: /not a directory/ });
    await assert.rejects(write('c8', '/root', [{ name: 'd', content: 'x' }]), {
      message: /cannot overwrite a directory with a file/,
    });
    await assert.rejects(write('c8', '/root', [{ name: 'f', kind: 'directory' }]), {
      message: /cannot overwrite a file with a directory/,
    });
  });

  for (const state of ['running', 'exited'] as const) {
    it(`never leaves the root of a container that is ${state}`, async () => {
      await run('c9');
      const climb = '../'.repeat(30);
      const links = {
        abs: outside,
        up: `${climb}${outside.slice(1)}`,
        proc: `/proc/1/root${outside}`,
        chain: 'abs',
      };
      const script = Object.entries(links).map(([name, to]) => `ln -s ${to} /root/${name}`);
      await shell('c9', script.join(';'));
      if (state === 'exited') await containers.stop('c9', { graceMs: 0 });
      for (const name of Object.keys(links)) {
        await assert.rejects(read('c9', `/root/${name}/secret`), { kind: 'not-found' });
        await assert.rejects(write('c9', `/root/${name}`, []), { kind: 'not-found' });
      }
      // Made below the root, as if it were "/" …
      const hits = Object.keys(links).map((name) => ({ name: `${name}/hit`, content: 'x' }));
      await write('c9', '/root', hits);
      assert.equal((await read('c9', `${outside}/hit`)).files[0]?.content.toString(), 'x');
      // … and not outside.
      assert.deepEqual(readdirSync(outside).includes('hit'), false);
      await assert.rejects(write('c9', '/root', [{ name: '../hit', content: 'x' }]), {
        kind: 'invalid-argument',
      });
    });
  }

  it('is not led out by one who changes links while it copies', async function () {
    // Swaps a directory and a link to a place of the host, as fast as a shell can.
    await run(
      'c10',
      {},
      `mkdir -p /x/dir; echo inside > /x/dir/secret; ln -s ${outside} /x/link;
       while true; do mv /x/dir /x/was; mv /x/link /x/dir; mv /x/dir /x/link; mv /x/was /x/dir; done`,
    );
    const gone = (error: unknown): undefined => {
      if (!isKind(error, 'not-found', 'failed-precondition', 'conflict')) throw error;
    };
    const once = async (): Promise<void> => {
      const tar = await read('c10', '/x/dir/secret').catch(gone);
      for (const { content } of tar?.files ?? []) assert.equal(content.toString(), 'inside\n');
      await write('c10', '/x', [{ name: 'dir/hit', content: 'x' }]).catch(gone);
      await write('c10', '/x/dir', [{ name: 'hit', content: 'x' }]).catch(gone);
    };
    for (let round = 0; round < 2; round++) await Promise.all([once(), once(), once()]);
    assert.deepEqual(readdirSync(outside).includes('hit'), false);
    assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'of the host');
  });

  it('does not wait for a fifo, nor open a device', async () => {
    await run('c11');
    await shell('c11', 'dd if=/dev/zero of=/root/x bs=1 count=1 2>/dev/null; rm /root/x');
    await write('c11', '/root', [
      { name: 'in-the-way', kind: 'fifo' },
      { name: 'tape', kind: 'block-device', major: 9, minor: 0 },
    ]);
    await write('c11', '/root', [{ name: 'in-the-way', content: 'a file now' }]);
    const { files } = await read('c11', '/root');
    assert.deepEqual(
      files.map(({ name, kind }) => [name, kind]),
      [
        ['root/', 'directory'],
        ['root/in-the-way', 'file'],
        ['root/tape', 'block-device'],
      ],
    );
  });

  it('gives up when asked, and leaves nothing behind', async () => {
    await run('c12');
    await write('c12', '/root', [{ name: 'big', content: Buffer.alloc(16 * 1024 * 1024, 1) }]);
    const stop = new AbortController();
    const { tar } = await containers.copyFrom('c12', '/root/big', {
      followLink: false,
      signal: stop.signal,
    });
    const reader = tar[Symbol.asyncIterator]();
    await reader.next();
    stop.abort(new Error('enough'));
    await assert.rejects(async () => {
      while ((await reader.next()).done !== true);
    }, /enough/);
    // one that is not read at all
    const unread = await containers.copyFrom('c12', '/root/big', { followLink: false });
    await unread.tar[Symbol.asyncIterator]().return?.();
  });

  it('tells what has changed, and exports the whole', async () => {
    await run('c13', { mounts: [{ type: 'MOUNT_TYPE_TMPFS', target: '/mem' }] });
    assert.deepEqual(await containers.diff('c13'), []);
    await shell(
      'c13',
      'echo x > /new && mkdir -p /made/in && echo y > /made/in/f && rm /data/deep/seed && echo z >> /etc/passwd && rm -r /tmp && mkdir /tmp && echo in > /tmp/t',
    );
    const changes = (await containers.diff('c13')).map(({ kind, path }) => `${kind} ${path}`);
    assert.deepEqual(changes, [
      'changed /data',
      'changed /data/deep',
      'deleted /data/deep/seed',
      'changed /etc',
      'changed /etc/passwd',
      'added /made',
      'added /made/in',
      'added /made/in/f',
      'added /new',
      'changed /tmp',
      'added /tmp/t',
    ]);
    const names = untar(await collect(containers.export('c13'))).map(({ name }) => name);
    assert.ok(names.includes('made/in/f') && names.includes('bin/busybox'));
    assert.ok(!names.includes('data/deep/seed') && names.includes('mem/'));
    assert.ok((await containers.sizeRw('c13')) >= 4096);
  });

  it('sees owners as a container does that has users of its own', async () => {
    chmodSync(rig.root, 0o711);
    const netns = await rig.netns();
    const args = ['sleep', '1000'];
    await containers.create(aContainer('c15', args, { usernsMode: 'remap' }, { netns }));
    await containers.start('c15');
    assert.deepEqual(await containers.diff('c15'), []);
    for (const state of ['running', 'exited']) {
      if (state === 'exited') await containers.stop('c15', { graceMs: 0 });
      await write('c15', '/root', [{ name: `${state}/as-root`, content: 'x', uid: 33, gid: 34 }]);
      await write(
        'c15',
        '/root',
        [{ name: `${state}/kept`, content: 'x', uid: 33, gid: 34 }],
        true,
      );
      const { files } = await read('c15', `/root/${state}`);
      assert.deepEqual(
        files.map(({ name, uid, gid }) => [name, uid, gid]),
        [
          [`${state}/`, 0, 0],
          [`${state}/as-root`, 0, 0],
          [`${state}/kept`, 33, 34],
        ],
      );
    }
    const passwd = untar(await collect(containers.export('c15'))).find(
      (f) => f.name === 'etc/passwd',
    );
    assert.equal(passwd?.uid, 0);
    await containers.start('c15');
    assert.equal(await shell('c15', 'stat -c %u:%g /root/exited/kept'), '33:34\n');
  });

  it('keeps a symbolic link that is replaced', async () => {
    await run('c14');
    await shell('c14', 'echo real > /root/real && ln -s real /root/link');
    await write('c14', '/root', [{ name: 'link', content: 'new' }]);
    assert.equal(await shell('c14', 'cat /root/real /root/link'), 'real\nnew');
  });
});
