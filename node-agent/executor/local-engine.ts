import type { Engine } from '../../runtime/engine.js';

/** What the agent's API needs of the engine of its machine. */
export type LocalEngine = Pick<Engine, 'images' | 'containers'>;

export type { ExecSession, LogLine, PullProgress } from '../../runtime/engine.js';
