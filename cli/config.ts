import { homedir } from 'node:os';
import { join } from 'node:path';

/** What the command line takes from its environment; nothing else reads it. */
export interface CliConfig {
  /** Socket or host given for this call; wins over the current context. */
  host: string | undefined;
  /** Socket of the agent whose containers, images and volumes are meant. */
  agent: string | undefined;
  /** Folder of contexts.json. */
  configDir: string;
  color: boolean;
  /** All variables, for ${VARIABLES} in compose files. */
  variables: Readonly<Record<string, string | undefined>>;
}

export function readConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
): CliConfig {
  return {
    host: env['HATOBA_HOST'],
    agent: env['HATOBA_AGENT'],
    configDir: env['HATOBA_CONFIG'] ?? join(env['HOME'] ?? homedir(), '.hatoba'),
    color: env['NO_COLOR'] === undefined && process.stdout.isTTY,
    variables: env,
  };
}
