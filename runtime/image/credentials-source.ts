import { readFile } from 'node:fs/promises';
import { errnoOf } from '../../common/errors.js';
import {
  findCredentials,
  parseCredentialsFile,
  registryOfServer,
  type RegistryCredentials,
} from '../../common/registry-credentials.js';

/** Finds credentials for a registry ("docker.io"); undefined where there are none. */
export type CredentialsSource = (host: string) => Promise<RegistryCredentials | undefined>;

/** The credentials of a file, read anew for each use; none while there is no such file. */
export function fileCredentials(path: string | undefined): CredentialsSource {
  return async (host) => {
    if (path === undefined) return undefined;
    try {
      const file = parseCredentialsFile(await readFile(path, 'utf8'), path);
      return findCredentials(file, registryOfServer(host), path);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  };
}
