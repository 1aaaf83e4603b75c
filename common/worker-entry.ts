import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Worker } from 'node:worker_threads';

/** What a worker thread runs: a file or a script, and how. */
export type WorkerEntry = ConstructorParameters<typeof Worker>;

/**
 * The module `name` beside the caller as the entry of a worker thread: as compiled, or as source,
 * which a thread can load only once it has registered tsx itself.
 * @param name without suffix: "./sys-worker"
 * @param callerUrl the caller's import.meta.url
 */
export function workerEntry(name: string, callerUrl: string): WorkerEntry {
  if (!callerUrl.endsWith('.ts')) return [new URL(`${name}.js`, callerUrl), {}];
  // Not import.meta.resolve: where tsx compiles for require(), as under mocha, there is none.
  const tsxFolder = dirname(createRequire(callerUrl).resolve('tsx/package.json'));
  const tsx = pathToFileURL(`${tsxFolder}/dist/esm/api/index.mjs`).href;
  const entry = new URL(`${name}.ts`, callerUrl).href;
  const script = `import('${tsx}').then((tsx) => { tsx.register(); return import('${entry}'); });`;
  return [script, { eval: true, execArgv: [] }];
}
