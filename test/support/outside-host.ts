import { UNDERLAY_BRIDGE, UNDERLAY_NETNS } from '../../deploy/dev/layout.js';
import { command, commandUnless } from '../../deploy/dev/command.js';

const NETNS = 'hatoba-outside';
const LINK = 'link-outside';
/** Beyond the hosts of a dev cluster (50 at most). */
const ADDRESS = '10.77.0.200';

/** A machine beside a dev cluster, not of it: a namespace on the same underlay. */
export class OutsideHost implements AsyncDisposable {
  readonly address = ADDRESS;
  readonly netnsPath = `/run/netns/${NETNS}`;

  static async plugIn(): Promise<OutsideHost> {
    const host = new OutsideHost();
    await host[Symbol.asyncDispose](); // of a run that was killed
    await command('ip', ['netns', 'add', NETNS]);
    const peer = ['peer', 'name', 'eth0', 'netns', NETNS];
    const veth = ['link', 'add', 'name', LINK, 'type', 'veth', ...peer];
    await command('ip', ['-netns', UNDERLAY_NETNS, ...veth]);
    const plug = ['link', 'set', LINK, 'master', UNDERLAY_BRIDGE, 'up'];
    await command('ip', ['-netns', UNDERLAY_NETNS, ...plug]);
    await command('ip', ['-netns', NETNS, 'address', 'add', `${ADDRESS}/24`, 'dev', 'eth0']);
    await command('ip', ['-netns', NETNS, 'link', 'set', 'lo', 'up']);
    await command('ip', ['-netns', NETNS, 'link', 'set', 'eth0', 'up']);
    return host;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const gone = /No such file|Cannot find device/;
    await commandUnless(gone, 'ip', ['-netns', UNDERLAY_NETNS, 'link', 'delete', LINK]);
    await commandUnless(gone, 'ip', ['netns', 'delete', NETNS]);
  }
}
