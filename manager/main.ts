import { runDaemon } from '../common/adapters/daemon.js';
import { systemClock } from '../common/adapters/system-clock.js';
import { systemRandom } from '../common/adapters/system-random.js';
import { startManager } from './compose.js';
import { parseConfig, toPrintable } from './config.js';

/** hatoba-manager: the cluster's state and every decision about it, until SIGTERM or SIGINT. */
await runDaemon({
  name: 'manager',
  parseConfig,
  toPrintable,
  start: async (config, { logger, stack, signal }) => {
    const modules = { clock: systemClock, random: systemRandom, logger };
    stack.use('manager', await startManager(config, modules, signal));
  },
});
