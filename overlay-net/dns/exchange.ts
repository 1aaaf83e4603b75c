import { createSocket } from 'node:dgram';
import { connect, isIPv6 } from 'node:net';
import { HatobaError } from '../../common/errors.js';
import { FrameReader, toFrame } from './frames.js';

export type Transport = 'udp' | 'tcp';

export interface ExchangeEvents {
  /** Every message that comes; it may be late, or forged. */
  onMessage: (message: Buffer) => void;
  onError: (error: Error) => void;
}

/** Sends a message to a resolver by a socket of its own; the returned function closes that. */
export type Exchange = (
  to: { address: string; port: number; transport: Transport },
  message: Buffer,
  events: ExchangeEvents,
) => () => void;

export const exchange: Exchange = (to, message, events) =>
  (to.transport === 'udp' ? byUdp : byTcp)(to, message, events);

/** A socket per question: its random port makes a forged answer hard to place. */
const byUdp: Exchange = ({ address, port }, message, { onMessage, onError }) => {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  let isOpen = true;
  socket.on('error', onError);
  socket.on('message', onMessage);
  socket.on('connect', () => {
    if (isOpen) socket.send(message);
  });
  socket.connect(port, address); // a callback would be told of a failure in place of onError
  return () => {
    if (isOpen) socket.close();
    isOpen = false;
  };
};

/** The sending side stays open: some resolvers take its end for a loss of interest. */
const byTcp: Exchange = ({ address, port }, message, { onMessage, onError }) => {
  const socket = connect({ host: address, port });
  const frames = new FrameReader();
  socket.on('error', onError);
  socket.on('close', () => onError(new HatobaError('unavailable', `${address} hung up`)));
  socket.on('data', (chunk) => frames.push(chunk).forEach(onMessage));
  socket.write(toFrame(message));
  return () => socket.destroy();
};
