import { spawn } from 'node:child_process';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { HatobaError, errnoOf } from '../common/errors.js';
import {
  credentialHelper,
  findCredentials,
  parseCredentialsFile,
  registryOfReference,
  serverKey,
  withCredentials,
  withoutCredentials,
  type CredentialsFile,
} from '../common/registry-credentials.js';
import type { RegistryAuth } from '../proto/gen/hatoba/v1/types.js';
import type { CliConfig } from './config.js';
import { note } from './output/print.js';

const MAX_HELPER_BYTES = 64 * 1024;

/**
 * The user's credentials for the registry of an image: those of `hatoba login`, else those docker
 * has (~/.docker/config.json, also by its credential helpers), else none.
 * @throws {HatobaError} invalid-argument when a file is damaged
 */
export async function credentialsFor(
  config: CliConfig,
  reference: string,
): Promise<RegistryAuth | undefined> {
  const registry = registryOfReference(reference);
  const own = ownPath(config);
  const stored = findCredentials(await readCredentials(own), registry, own);
  return stored ?? (await dockerCredentials(config, registry));
}

/** Keeps what a registry has taken; the file is for its user's eyes only. */
export async function keepCredentials(
  config: CliConfig,
  registry: string,
  auth: RegistryAuth,
): Promise<string> {
  const path = ownPath(config);
  await replaceFile(config, withCredentials(await readCredentials(path), registry, auth));
  return path;
}

/** @returns whether there were any */
export async function dropCredentials(config: CliConfig, registry: string): Promise<boolean> {
  const path = ownPath(config);
  const file = await readCredentials(path);
  if (findCredentials(file, registry, path) === undefined) return false;
  await replaceFile(config, withoutCredentials(file, registry));
  return true;
}

function ownPath({ configDir }: CliConfig): string {
  return join(configDir, 'credentials.json');
}

async function readCredentials(path: string): Promise<CredentialsFile> {
  try {
    return parseCredentialsFile(await readFile(path, 'utf8'), path);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return {};
    throw error;
  }
}

async function replaceFile(config: CliConfig, file: CredentialsFile): Promise<void> {
  await mkdir(config.configDir, { recursive: true, mode: 0o700 });
  const draft = `${ownPath(config)}.${process.pid}`;
  await writeFile(draft, `${JSON.stringify(file, null, 2)}\n`, { mode: 0o600 });
  await rename(draft, ownPath(config));
}

async function dockerCredentials(
  config: CliConfig,
  registry: string,
): Promise<RegistryAuth | undefined> {
  const { DOCKER_CONFIG, HOME } = config.variables;
  const folder = DOCKER_CONFIG ?? (HOME === undefined ? undefined : join(HOME, '.docker'));
  if (folder === undefined) return undefined;
  const path = join(folder, 'config.json');
  const file = await readCredentials(path);
  const helper = credentialHelper(file, registry);
  const found = findCredentials(file, registry, path);
  if (helper === undefined || found !== undefined) return found;
  return await askHelper(config, { helper, registry, path });
}

/** Runs `docker-credential-<helper> get`, the protocol of docker's credential helpers. */
async function askHelper(
  config: CliConfig,
  { helper, registry, path }: { helper: string; registry: string; path: string },
): Promise<RegistryAuth | undefined> {
  const program = `docker-credential-${helper}`;
  const answer = /^[\w.-]+$/.test(helper) ? await runHelper(program, config, registry) : undefined;
  if (answer === undefined) {
    const hint = `install it, or run "hatoba login ${registry}"`;
    note(`${path} has the credentials for ${registry} with ${program}, which is not here: ${hint}`);
    return undefined;
  }
  if (answer.exitCode !== 0) {
    if (/credentials not found/i.test(answer.output)) return undefined;
    const said = answer.output.trim().split('\n')[0] ?? '';
    throw new HatobaError('unauthenticated', `${program}: ${said || `exit ${answer.exitCode}`}`);
  }
  return parseHelperAnswer(answer.output, program);
}

/** @throws {HatobaError} invalid-argument, without a word of what the helper said: it is secret */
export function parseHelperAnswer(output: string, program: string): RegistryAuth {
  const wrong = new HatobaError('invalid-argument', `${program}: its answer has no credentials`);
  let answer: unknown;
  try {
    answer = JSON.parse(output);
  } catch {
    throw wrong;
  }
  if (typeof answer !== 'object' || answer === null) throw wrong;
  const { Username: username, Secret: secret } = answer as Record<string, unknown>;
  if (typeof username !== 'string' || typeof secret !== 'string') throw wrong;
  // so docker marks that the secret is an identity token
  if (username === '<token>') return { username: '', password: '', identityToken: secret };
  return { username, password: secret, identityToken: '' };
}

async function runHelper(
  program: string,
  config: CliConfig,
  registry: string,
): Promise<{ exitCode: number; output: string } | undefined> {
  const child = spawn(program, ['get'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...config.variables },
  });
  const ended = new Promise<number | undefined>((resolve, reject) => {
    child.once('error', (error) => {
      if (errnoOf(error) === 'ENOENT') resolve(undefined);
      else reject(error);
    });
    child.once('close', (code) => {
      resolve(code ?? 1);
    });
  });
  child.stdin.on('error', () => undefined); // a helper may end without reading
  child.stdin.end(serverKey(registry));
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (output.length < MAX_HELPER_BYTES) output += text;
  });
  const exitCode = await ended;
  return exitCode === undefined ? undefined : { exitCode, output };
}
