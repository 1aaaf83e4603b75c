import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Command } from 'commander';
import { HatobaError } from '../../../../common/errors.js';
import type { EngineSession } from '../../../../cli/engine-session.js';
import { exitCodeOf } from '../../../../cli/failure.js';
import { addContainerOptions } from '../../../../cli/run/container-flags.js';
import { makeContainer, runContainer, type RunFlags } from '../../../../cli/run/run-container.js';

type Answer = (error: Error | null, response?: unknown) => void;

describe('run', () => {
  let folder: string;
  let calls: string[];
  let interrupt: AbortController;
  /** What happens while a container is made. */
  let onCreate: () => void;
  /** What a start that fails leaves as the container's exit code. */
  let failure: number;

  before(async () => (folder = await mkdtemp('/tmp/ht-run-')));
  after(() => rm(folder, { recursive: true }));
  beforeEach(() => {
    calls = [];
    interrupt = new AbortController();
    onCreate = () => undefined;
  });

  function aSession(): EngineSession {
    const method =
      (name: string, answer: () => object) =>
      (request: object, _metadata: object, _options: object, done: Answer) => {
        calls.push(`${name} ${JSON.stringify(request)}`);
        queueMicrotask(() => {
          try {
            done(null, answer());
          } catch (error) {
            done(error as Error);
          }
        });
        return { cancel: () => done(new Error('cancelled')) };
      };
    const engine = {
      imageInspect: method('inspect', () => ({})),
      containerCreate: method('create', () => {
        onCreate();
        return { id: 'c1', warnings: [] };
      }),
      containerStart: method('start', () => {
        throw new HatobaError('failed-precondition', 'it cannot be started');
      }),
      containerInspect: method('look', () => ({ state: { exitCode: failure }, autoRemove: true })),
      containerRemove: method('remove', () => ({})),
    };
    const config = { variables: {} };
    // only what these commands use is there
    return { engine, config, signal: interrupt.signal } as unknown as EngineSession;
  }
  function flagsOf(...words: string[]): RunFlags {
    const command = addContainerOptions(new Command('run').option('--cidfile <file>'));
    command.parse([...words], { from: 'user' });
    return { ...command.opts<RunFlags>(), detach: true, detachKeys: '', sigProxy: true };
  }
  const names = (): string[] => calls.map((call) => call.split(' ')[0] ?? '');

  it('leaves nothing with --rm when it is interrupted before the container runs', async () => {
    onCreate = () => interrupt.abort(new HatobaError('cancelled', 'interrupted'));
    const run = runContainer(aSession(), 'box:1', [], flagsOf('--rm'));
    await assert.rejects(run, { kind: 'cancelled' });
    assert.deepEqual(names(), ['inspect', 'create', 'remove']);
    assert.equal(calls[2], 'remove {"container":"c1","force":false,"volumes":true}');
  });

  it('says 127 and 126 of a command that cannot be run, else 125, and --rm holds', async () => {
    for (const [left, exitCode] of [
      [127, 127],
      [126, 126],
      [128, 125],
    ] as const) {
      calls = [];
      failure = left;
      const run = runContainer(aSession(), 'box:1', ['nope'], flagsOf('--rm'));
      await assert.rejects(run, (error) => exitCodeOf(error, 'run') === exitCode);
      assert.deepEqual(names(), ['inspect', 'create', 'start', 'look', 'remove']);
    }
  });

  it('keeps the container when it is interrupted without --rm', async () => {
    onCreate = () => interrupt.abort(new HatobaError('cancelled', 'interrupted'));
    await assert.rejects(runContainer(aSession(), 'box:1', [], flagsOf()), { kind: 'cancelled' });
    assert.deepEqual(names(), ['inspect', 'create']);
  });

  it('leaves no --cidfile without an id in it, and none that was there is written to', async () => {
    const cidfile = join(folder, 'id');
    const flags = flagsOf('--cidfile', cidfile);
    onCreate = () => {
      throw new Error('no space');
    };
    await assert.rejects(makeContainer(aSession(), 'box:1', [], flags), /no space/);
    assert.ok(!existsSync(cidfile));
    onCreate = () => undefined;
    await makeContainer(aSession(), 'box:1', [], flags);
    assert.equal(await readFile(cidfile, 'utf8'), 'c1');
    const again = makeContainer(aSession(), 'box:1', [], flags);
    await assert.rejects(again, { kind: 'already-exists' });
    assert.equal(await readFile(cidfile, 'utf8'), 'c1');
  });
});
