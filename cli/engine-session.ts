import { HatobaError } from '../common/errors.js';
import { EngineClient } from '../proto/gen/hatoba/v1/engine.js';
import { localTarget, openClient } from '../proto/wire/client.js';
import { readConfig, type CliConfig } from './config.js';
import { agentSocket } from './context.js';
import { Interrupts, isUnreachable } from './session.js';

/** What a command on the containers, images and volumes of one node works with. */
export interface EngineSession {
  readonly config: CliConfig;
  readonly engine: EngineClient;
  /** Aborts on Ctrl-C. */
  readonly signal: AbortSignal;
  readonly interrupts: Interrupts;
}

/**
 * Runs a command against the agent of this node.
 * @throws {HatobaError} unavailable, saying how to start an agent
 */
export async function withEngine(run: (session: EngineSession) => Promise<void>): Promise<void> {
  const config = readConfig();
  const socket = await agentSocket(config);
  // A stop takes the grace of its container, and `wait` takes days.
  const engine = openClient(EngineClient, localTarget(socket), { isPatient: true });
  const interrupts = new Interrupts();
  try {
    await run({ config, engine, signal: interrupts.signal, interrupts });
  } catch (error) {
    throw isUnreachable(error, socket) ? unreachable(socket, error) : error;
  } finally {
    engine.close();
  }
}

function unreachable(socket: string, cause: HatobaError): HatobaError {
  const hint = cause.message.includes('EACCES')
    ? 'only root and the group "hatoba" may use it'
    : 'make this machine a node with "hatoba init" or "hatoba join", or name another agent with HATOBA_AGENT';
  return new HatobaError('unavailable', `no agent answers at ${socket}: ${hint}`, { cause });
}
