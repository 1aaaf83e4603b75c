import { serveCalls } from './call-server.js';
import { LinuxConntrack } from './conntrack/conntrack.js';
import { NetnsThread } from './netns.js';

/** The worker thread of the Conntrack port; see ConntrackClient. */
serveCalls(() => {
  const thread = new NetnsThread();
  const conntrack = new LinuxConntrack(thread);
  return {
    ...conntrack.handlers,
    'conntrack.drop': (path) => {
      conntrack.drop(path);
    },
    close: () => {
      conntrack.close();
      thread.close();
    },
  };
});
