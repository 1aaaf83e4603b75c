import assert from 'node:assert/strict';
import * as fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { copy } from '../../../cli/copy/copy.js';
import { parseCopyWords } from '../../../cli/copy/words.js';
import type { EngineSession } from '../../../cli/engine-session.js';
import { readStream, unary } from '../../../proto/wire/client.js';
import { cleanUp } from '../../support/clean-up.js';
import { eventually } from '../../support/eventually.js';
import { diskUse } from '../../support/file-tree.js';
import { busyboxImage, dockerArchive } from '../../support/image-fixtures.js';
import { requiresCommand, requiresRoot } from '../../support/requires.js';
import { untar } from '../../support/tar-files.js';
import { AgentHost } from './agent-host.js';
import { LocalRig } from './local-rig.js';
import { TestManager } from './test-manager.js';

describe('files and volumes of containers of one node', function () {
  let manager: TestManager;
  let host: AgentHost;
  let rig: LocalRig;
  let here = '';

  before(async function () {
    requiresRoot(this);
    for (const command of ['crun', 'conmon', 'nsenter', 'ip', 'busybox', 'nft'])
      requiresCommand(this, command);
    here = fs.mkdtempSync(join(tmpdir(), 'ht-cp-'));
    manager = await TestManager.start();
    host = new AgentHost(manager);
    rig = new LocalRig(host);
    await host.setUp();
    await host.start();
    await host.loadImage(await dockerArchive(await busyboxImage({ tag: 'box:1' })));
    const spec = { args: ['sh', '-c', MAKE] };
    await rig.run({ name: 'c1', networkMode: 'none', spec });
    await eventually(async () => assert.equal(await pathIn('/w/ready'), true));
  });
  after(async () => {
    await cleanUp(
      () => (host as AgentHost | undefined)?.tearDown(),
      () => (manager as TestManager | undefined)?.[Symbol.asyncDispose](),
      () => fs.rmSync(here, { recursive: true, force: true }),
    );
  });
  beforeEach(() => {
    fs.rmSync(here, { recursive: true, force: true });
    fs.mkdirSync(here);
  });

  const MAKE =
    'mkdir -p /w/d/sub /w/empty; echo f > /w/f; echo in > /w/d/in; ln -s f /w/link; ln -s d /w/dlink; touch /w/ready; exec sleep 1000';

  /** As `hatoba cp`. */
  async function cp(source: string, target: string, flags: object = {}): Promise<void> {
    // Of a session, copying uses these two.
    const session = { engine: host.engine, signal: new AbortController().signal };
    await copy(
      parseCopyWords(source, target),
      { followLink: false, archive: false, ...flags },
      session as EngineSession,
    );
  }
  async function pathIn(path: string): Promise<boolean> {
    try {
      const call = host.engine.containerCopyFrom({ container: 'c1', path, followLink: false });
      for await (const { output } of readStream(call)) return output?.$case === 'stat';
      return false;
    } catch {
      return false;
    }
  }
  /** Names below the folder of the test, with the content of files and "->" of links. */
  function tree(folder = here): string[] {
    return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
      const path = join(folder, entry.name);
      const name = path.slice(here.length + 1);
      if (entry.isDirectory()) return [`${name}/`, ...tree(path)];
      if (entry.isSymbolicLink()) return [`${name} -> ${fs.readlinkSync(path)}`];
      return [`${name}: ${fs.readFileSync(path, 'utf8').trim()}`];
    });
  }

  // docker cp's table, out of a container: what is there before, and after
  const fromCases: { what: string; source: string; target: string; is: string[] }[] = [
    { what: 'a file to a new name', source: '/w/f', target: 'new', is: ['new: f'] },
    { what: 'a file into a directory', source: '/w/f', target: 'dir', is: ['dir/', 'dir/f: f'] },
    { what: 'a file over a file', source: '/w/f', target: 'old', is: ['old: f'] },
    {
      what: 'a directory to a new name',
      source: '/w/d',
      target: 'new',
      is: ['new/', 'new/in: in', 'new/sub/'],
    },
    {
      what: 'a directory into one',
      source: '/w/d',
      target: 'dir',
      is: ['dir/', 'dir/d/', 'dir/d/in: in', 'dir/d/sub/'],
    },
    {
      what: 'what is in a directory',
      source: '/w/d/.',
      target: 'dir',
      is: ['dir/', 'dir/in: in', 'dir/sub/'],
    },
    {
      what: 'what is in one to a new name',
      source: '/w/d/.',
      target: 'new',
      is: ['new/', 'new/in: in', 'new/sub/'],
    },
    { what: 'a link as a link', source: '/w/link', target: 'new', is: ['new -> f'] },
    {
      what: 'what a link/ leads to',
      source: '/w/dlink/',
      target: 'new',
      is: ['new/', 'new/in: in', 'new/sub/'],
    },
  ];
  for (const { what, source, target, is } of fromCases) {
    it(`copies ${what} out of a container`, async () => {
      if (target === 'dir') fs.mkdirSync(join(here, 'dir'));
      if (target === 'old') fs.writeFileSync(join(here, 'old'), 'old');
      await cp(`c1:${source}`, join(here, target));
      assert.deepEqual(tree().sort(), is.sort());
    });
  }

  it('follows a link that is the source, when asked', async () => {
    await cp('c1:/w/link', here, { followLink: true });
    assert.deepEqual(tree(), ['link: f']);
  });

  it('refuses what cannot be, and says why', async () => {
    fs.writeFileSync(join(here, 'old'), 'old');
    await assert.rejects(cp('c1:/w/d', join(here, 'old')), /is a file/);
    await assert.rejects(cp('c1:/w/f', join(here, 'new/')), /make the directory first/);
    await assert.rejects(cp('c1:/w/f', join(here, 'none/new')), /is not there/);
    await assert.rejects(cp('c1:/none', here), { kind: 'not-found' });
    await assert.rejects(cp('nobody:/w/f', here), { kind: 'not-found' });
    await assert.rejects(cp(join(here, 'old'), 'nobody:/w'), { kind: 'not-found' });
    await assert.rejects(cp(join(here, 'none'), 'c1:/w'), { kind: 'not-found' });
    await assert.rejects(cp(join(here, 'old'), 'c1:/w/none/x'), { kind: 'not-found' });
    fs.mkdirSync(join(here, 'dir/link'), { recursive: true });
    await assert.rejects(cp(join(here, 'dir'), 'c1:/w/f'), /is a file/);
  });

  it('writes through no link of the container on the way', async () => {
    const outside = join(here, 'outside');
    fs.mkdirSync(outside);
    fs.mkdirSync(join(here, 'into'));
    fs.symlinkSync(outside, join(here, 'into/d'));
    await assert.rejects(cp('c1:/w/d', join(here, 'into')), /overwrite a file with a directory/);
    assert.deepEqual(fs.readdirSync(outside), []);
  });

  it('copies into a container by the same rules', async () => {
    fs.mkdirSync(join(here, 'src/deep'), { recursive: true });
    fs.writeFileSync(join(here, 'src/deep/file'), 'hello');
    fs.writeFileSync(join(here, 'one'), 'one');
    await cp(join(here, 'src'), 'c1:/w/new'); // to nothing
    await cp(join(here, 'src'), 'c1:/w/empty'); // into a directory
    await cp(`${here}/src/.`, 'c1:/w/empty'); // its contents
    await cp(join(here, 'one'), 'c1:/w/new/renamed');
    await cp(join(here, 'one'), 'c1:/w/dlink'); // a link to a directory is followed
    for (const path of [
      '/w/new/deep/file',
      '/w/empty/src/deep/file',
      '/w/empty/deep/file',
      '/w/new/renamed',
      '/w/d/one',
    ]) {
      assert.ok(await pathIn(path), path);
    }
    await cp('c1:/w/new', join(here, 'back'));
    assert.ok(tree().includes('back/deep/file: hello') && tree().includes('back/renamed: one'));
  });

  it('exports the whole and tells what has changed', async () => {
    const parts: Buffer[] = [];
    for await (const { data } of readStream(host.engine.containerExport({ container: 'c1' }))) {
      parts.push(data);
    }
    const names = untar(Buffer.concat(parts)).map(({ name }) => name);
    assert.ok(names.includes('w/f') && names.includes('bin/busybox'));
    const { engine } = host;
    const { changes } = await unary(engine.containerDiff.bind(engine), { container: 'c1' });
    assert.ok(changes.some(({ kind, path }) => kind === 'added' && path === '/w/f'));
  });

  it('makes, shows and removes volumes', async () => {
    const { engine } = host;
    const wanted = { name: 'data', driver: '', labels: { a: 'b' }, driverOpts: {} };
    const made = await unary(engine.volumeCreate.bind(engine), wanted);
    const shown = await unary(engine.volumeInspect.bind(engine), { volume: 'data', size: true });
    assert.deepEqual({ ...shown, sizeBytes: undefined }, { ...made, sizeBytes: undefined });
    assert.equal(shown.sizeBytes, diskUse(shown.mountpoint));
    const { volumes } = await unary(engine.volumeList.bind(engine), {});
    assert.deepEqual(
      volumes.map(({ name }) => name),
      ['data'],
    );
    const pruned = await unary(engine.volumePrune.bind(engine), { all: false });
    assert.deepEqual(pruned.removed, []);
    await unary(engine.volumeRemove.bind(engine), { volumes: ['data'], force: false });
    await assert.rejects(
      unary(engine.volumeInspect.bind(engine), { volume: 'data', size: false }),
      {
        kind: 'not-found',
      },
    );
  });
});
