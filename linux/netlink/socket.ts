import { HatobaError } from '../../common/errors.js';
import { errnoError, errnoName } from '../errno.js';
import { O_CLOEXEC, check, lastErrno, libc } from '../libc.js';
import {
  NLMSGERR_ATTR_MSG,
  NLMSG_DONE,
  NLMSG_ERROR,
  NLM_F_CAPPED,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
} from './constants.js';
import {
  MessageWriter,
  parseAttributes,
  parseMessages,
  readString,
  type Message,
} from './message.js';

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const NETLINK_ROUTE = 0;
const SOL_SOCKET = 1;
const SO_RCVTIMEO = 20;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const SIOCGIFINDEX = 0x8933;

const RECEIVE_BUFFER_BYTES = 1 << 20;
/** More than the kernel ever puts into one answer (32 KiB). */
const ANSWER_BYTES = 1 << 18;
/** Each answer takes about 1 KiB of the receive buffer until it is read. */
const MAX_BATCH = 256;
/** The kernel answers within the send; a wait means that something is badly wrong. */
const ANSWER_TIMEOUT_SECONDS = 10;
const MAX_DUMP_ATTEMPTS = 5;

/** Why a request failed: errno 0 is success. */
export interface Outcome {
  errno: number;
  /** The kernel's own words; often empty. */
  reason: string;
}

const answer = Buffer.alloc(ANSWER_BYTES);

/** A netlink socket; it stays in the network namespace in which it was opened. */
export class NetlinkSocket {
  readonly #fd: number;
  #sequence = 0;

  /**
   * Opens it in the namespace this thread is in.
   * @param protocol which part of the kernel it speaks to
   */
  constructor(protocol: number = NETLINK_ROUTE) {
    const action = 'opening a netlink socket';
    this.#fd = check(libc.socket(AF_NETLINK, SOCK_RAW | O_CLOEXEC, protocol), action);
    const set = (level: number, option: number, ...words: number[]): void => {
      const value = Buffer.from(Uint32Array.from(words).buffer);
      check(libc.setsockopt(this.#fd, level, option, value, value.length), action);
    };
    try {
      set(SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES);
      set(SOL_SOCKET, SO_RCVTIMEO, ANSWER_TIMEOUT_SECONDS, 0, 0, 0);
      set(SOL_NETLINK, NETLINK_CAP_ACK, 1);
      set(SOL_NETLINK, NETLINK_EXT_ACK, 1);
      set(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    libc.close(this.#fd);
  }

  /** Index of a link by its name; undefined where there is none. */
  linkIndex(name: string): number | undefined {
    if (Buffer.byteLength(name) > 15) return undefined;
    const request = Buffer.alloc(40); // struct ifreq: name[16], then the index
    request.write(name, 'utf8');
    if (libc.ioctl(this.#fd, SIOCGIFINDEX, request) === 0) return request.readInt32LE(16);
    const errno = lastErrno();
    if (errnoName(errno) === 'ENODEV') return undefined;
    throw errnoError(`looking for link ${name}`, errno);
  }

  /**
   * Sends requests, many in one system call, and tells of each how it went. The kernel goes on
   * after one that fails.
   */
  execute(requests: readonly MessageWriter[]): Outcome[] {
    const outcomes: Outcome[] = [];
    for (let start = 0; start < requests.length; start += MAX_BATCH) {
      outcomes.push(...this.#executeBatch(requests.slice(start, start + MAX_BATCH)));
    }
    return outcomes;
  }

  /**
   * Everything of one kind.
   * @param type an RTM_GET… message
   */
  dump(type: number, fixed: Buffer, action: string): Message[] {
    for (let attempt = 1; attempt <= MAX_DUMP_ATTEMPTS; attempt++) {
      const request = new MessageWriter(type, NLM_F_REQUEST | NLM_F_DUMP, fixed);
      const { messages, isInterrupted } = this.#collectDump(request, action);
      if (!isInterrupted) return messages;
    }
    throw new HatobaError('unavailable', `${action}: it changed while it was read; try again`);
  }

  /**
   * Asks for a dump and passes on each answer as it comes, as that may be more than fits in memory.
   * @param visit must not keep the payload: the next answers take its place
   * @returns whether what was dumped changed meanwhile, where the kernel tells
   */
  stream(request: MessageWriter, action: string, visit: (message: Message) => void): boolean {
    const sequence = this.#send([request], action);
    let isInterrupted = false;
    for (;;) {
      for (const message of this.#receive(action)) {
        if (message.sequence !== sequence) continue;
        isInterrupted ||= (message.flags & NLM_F_DUMP_INTR) !== 0;
        if (message.type === NLMSG_DONE) {
          const errno = message.payload.length >= 4 ? -message.payload.readInt32LE() : 0;
          if (errno !== 0) throw errnoError(action, errno);
          return isInterrupted;
        }
        if (message.type === NLMSG_ERROR) {
          const { errno, reason } = readOutcome(message);
          throw errnoError(action, errno, reason);
        }
        visit(message);
      }
    }
  }

  /** One object. @returns undefined when there is none */
  get(request: MessageWriter, action: string): Message | undefined {
    const first = this.#send([request], action);
    for (const message of this.#receive(action)) {
      if (message.sequence !== first) continue;
      if (message.type !== NLMSG_ERROR) return copyOf(message);
      const { errno, reason } = readOutcome(message);
      if (errnoName(errno) === 'ENODEV') return undefined;
      throw errnoError(action, errno, reason);
    }
    return undefined;
  }

  #executeBatch(requests: readonly MessageWriter[]): Outcome[] {
    const action = 'changing the network';
    const first = this.#send(requests, action);
    const outcomes = new Map<number, Outcome>();
    while (outcomes.size < requests.length) {
      for (const message of this.#receive(action)) {
        const isOurs = message.sequence >= first && message.sequence < first + requests.length;
        if (!isOurs || message.type !== NLMSG_ERROR) continue;
        outcomes.set(message.sequence - first, readOutcome(message));
      }
    }
    return requests.map((_, index) => outcomes.get(index) ?? { errno: 0, reason: '' });
  }

  #collectDump(
    request: MessageWriter,
    action: string,
  ): { messages: Message[]; isInterrupted: boolean } {
    const messages: Message[] = [];
    const isInterrupted = this.stream(request, action, (message) => {
      messages.push(copyOf(message));
    });
    return { messages, isInterrupted };
  }

  /** @returns the sequence number of the first */
  #send(requests: readonly MessageWriter[], action: string): number {
    const first = this.#sequence + 1;
    this.#sequence += requests.length;
    const bytes = Buffer.concat(requests.map((request, index) => request.build(first + index)));
    check(libc.send(this.#fd, bytes, bytes.length, 0), action);
    return first;
  }

  #receive(action: string): Message[] {
    for (;;) {
      const length = libc.recv(this.#fd, answer, answer.length, 0);
      if (length >= 0) return parseMessages(answer.subarray(0, length));
      const errno = lastErrno();
      if (errnoName(errno) === 'EINTR') continue;
      throw errnoError(`${action}: waiting for the kernel's answer`, errno);
    }
  }
}

function copyOf(message: Message): Message {
  return { ...message, payload: Buffer.from(message.payload) };
}

/** struct nlmsgerr, and behind it the request (only its header, as asked for) and attributes. */
function readOutcome({ payload, flags }: Message): Outcome {
  const errno = -payload.readInt32LE();
  if (errno === 0) return { errno: 0, reason: '' };
  const echoed = (flags & NLM_F_CAPPED) !== 0 ? 16 : payload.readUInt32LE(4);
  const attributes = parseAttributes(payload, 4 + ((echoed + 3) & ~3));
  return { errno, reason: readString(attributes, NLMSGERR_ATTR_MSG) ?? '' };
}
