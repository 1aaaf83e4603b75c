import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { errnoOf, HatobaError } from '../common/errors.js';
import type { CliConfig } from './config.js';

/** Where the manager of this machine listens when nothing else is said. */
export const DEFAULT_SOCKET = '/run/hatoba/manager.sock';

/** contexts.json: `{"current": "dev", "contexts": {"dev": {"socket": "/run/…/manager.sock"}}}`. */
interface ContextFile {
  current?: string;
  contexts: Record<string, { socket: string }>;
}

/** The manager's socket: HATOBA_HOST, else the current context, else this machine's manager. */
export async function managerSocket(config: CliConfig): Promise<string> {
  if (config.host !== undefined) return config.host.replace(/^unix:(\/\/)?/, '');
  const { current, contexts } = await readContexts(config);
  return (current === undefined ? undefined : contexts[current]?.socket) ?? DEFAULT_SOCKET;
}

/** The agent's socket: HATOBA_AGENT, else the one beside the manager of the current context. */
export async function agentSocket(config: CliConfig): Promise<string> {
  if (config.agent !== undefined) return config.agent.replace(/^unix:(\/\/)?/, '');
  return join(dirname(await managerSocket(config)), 'agent.sock');
}

/** Makes `name` the context of the following commands. */
export async function useContext(config: CliConfig, name: string, socket: string): Promise<void> {
  const { contexts } = await readContexts(config);
  await writeContexts(config, { current: name, contexts: { ...contexts, [name]: { socket } } });
}

/** Forgets `name`; later commands go to this machine's own manager. */
export async function dropContext(config: CliConfig, name: string): Promise<void> {
  const { current, contexts } = await readContexts(config);
  const { [name]: dropped, ...rest } = contexts;
  if (dropped === undefined) return;
  const keep = current === undefined || current === name ? {} : { current };
  await writeContexts(config, { ...keep, contexts: rest });
}

async function readContexts(config: CliConfig): Promise<ContextFile> {
  const file = join(config.configDir, 'contexts.json');
  try {
    return JSON.parse(await readFile(file, 'utf8')) as ContextFile;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return { contexts: {} };
    const what = error instanceof Error ? error.message : String(error);
    throw new HatobaError(
      'failed-precondition',
      `${file} cannot be read: ${what}; repair or remove it`,
    );
  }
}

async function writeContexts(config: CliConfig, contexts: ContextFile): Promise<void> {
  const file = join(config.configDir, 'contexts.json');
  await mkdir(config.configDir, { recursive: true, mode: 0o700 });
  await writeFile(`${file}.new`, `${JSON.stringify(contexts, null, 2)}\n`);
  await rename(`${file}.new`, file);
}
