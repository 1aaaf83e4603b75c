/**
 * An engine in a process of its own, to be killed: opens the folders given, creates and starts the
 * containers given, prints "ready", and stays.
 */
import { aContainer, openContainerRig } from './container-rig.js';

const [root = '', cgroupParent = '', ...ids] = process.argv.slice(2);
const rig = await openContainerRig({ root, cgroupParent });
for (const id of ids) {
  const script = 'until test -e /go; do sleep 0.1; done; exit 4';
  const log = { maxSizeBytes: 1 << 20, maxFiles: 3 };
  await rig.containers.create(aContainer(id, ['sh', '-c', script], {}, { log }));
  await rig.containers.start(id);
}
process.stdout.write('ready\n');
setInterval(() => undefined, 1 << 30);
