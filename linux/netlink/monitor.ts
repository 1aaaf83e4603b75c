import { errnoError, errnoName } from '../errno.js';
import { O_CLOEXEC, check, lastErrno, libc } from '../libc.js';
import * as c from './constants.js';
import { decodeFdb } from './decode.js';
import { parseMessages, type Message } from './message.js';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;
const MSG_DONTWAIT = 0x40;
/** RTMGRP_…: links, neighbours and forwarding entries, and of IPv4 addresses and routes. */
const GROUPS = 0x1 | 0x4 | 0x10 | 0x40;
const MESSAGE_BYTES = 1 << 18;

/** States that a neighbour goes through by itself, as packets come and go. */
const NUD_TRANSIENT = 0x1 | 0x2 | 0x4 | 0x8 | 0x10;

const received = Buffer.alloc(MESSAGE_BYTES);

/**
 * Hears of every change to links and what hangs on them, in the network namespace in which it was
 * opened. What it hears tells only that it is time to look: when too much happens to be kept, that
 * alone is told.
 */
export class NetlinkMonitor {
  readonly #fd: number;
  #isFirst = true;

  constructor() {
    const action = 'listening for changes of the network';
    this.#fd = check(libc.socket(AF_NETLINK, SOCK_RAW | O_CLOEXEC, NETLINK_ROUTE), action);
    const address = Buffer.alloc(12); // struct sockaddr_nl
    address.writeUInt16LE(AF_NETLINK, 0);
    address.writeUInt32LE(GROUPS, 8);
    try {
      check(libc.bind(this.#fd, address, address.length), action);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    libc.close(this.#fd);
  }

  /** Whether anything lasting has changed since the last call; true the first time. */
  hasChanged(): boolean {
    let isChanged = this.#isFirst;
    this.#isFirst = false;
    for (;;) {
      const length = libc.recv(this.#fd, received, received.length, MSG_DONTWAIT);
      if (length >= 0) {
        isChanged ||= parseMessages(received.subarray(0, length)).some(isLasting);
        continue;
      }
      const errno = errnoName(lastErrno());
      if (errno === 'EAGAIN') return isChanged;
      if (errno === 'ENOBUFS') isChanged = true;
      else if (errno !== 'EINTR') throw errnoError('hearing of changes', lastErrno());
    }
  }
}

/** Not what comes and goes with traffic: learned addresses, answers to ARP. */
function isLasting(message: Message): boolean {
  if (message.type !== c.RTM_NEWNEIGH && message.type !== c.RTM_DELNEIGH) return true;
  const { payload } = message;
  if (payload.readUInt8(0) === c.AF_BRIDGE) return decodeFdb(message).length > 0;
  return (payload.readUInt16LE(8) & NUD_TRANSIENT) === 0;
}
