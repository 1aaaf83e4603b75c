import { connect } from 'node:net';
import { errnoOf } from '../../common/errors.js';
import { hostOf } from './node-registry.js';

const TIMEOUT_MS = 1000;

/**
 * What a host does with a connection to its agent's port: `refused` comes from a kernel that runs
 * without the agent; `accepted` says nothing of an agent that hangs; `silent` is a host without
 * power or network.
 */
export type ProbeAnswer = 'refused' | 'accepted' | 'silent';
export type HostProbe = (agentAddress: string) => Promise<ProbeAnswer>;

/** By a TCP connection that is closed at once. Never rejects. */
export const probeHost: HostProbe = (agentAddress) =>
  new Promise((resolve) => {
    const port = Number(/:(\d+)$/.exec(agentAddress)?.[1] ?? 0);
    if (port < 1 || port > 65_535) {
      resolve('silent'); // nothing can be asked there; `connect` would throw
      return;
    }
    const socket = connect({ host: hostOf(agentAddress), port, timeout: TIMEOUT_MS });
    const finish = (answer: ProbeAnswer): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once('connect', () => finish('accepted'));
    socket.once('timeout', () => finish('silent'));
    socket.once('error', (error) => {
      finish(errnoOf(error) === 'ECONNREFUSED' ? 'refused' : 'silent');
    });
  });
