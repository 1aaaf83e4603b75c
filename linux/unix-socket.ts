import { unlinkSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { errnoOf, HatobaError } from '../common/errors.js';
import {
  check,
  checkUnless,
  F_DUPFD_CLOEXEC,
  F_GETFL,
  F_SETFL,
  libc,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  openPath,
  withFd,
} from './libc.js';
import type { CallHandlers, KernelCall } from './protocol.js';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_SEQPACKET = 5;
/** Also flags of socket(2), with the same numbers. */
const SOCKET_FLAGS = O_CLOEXEC | O_NONBLOCK;
const SUN_PATH_BYTES = 108;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** struct cmsghdr, then one descriptor. */
const CMSG_HEADER_BYTES = 16;
const CMSG_BYTES = 24;
const TIOCSWINSZ = 0x5414;
const O_NOCTTY = 0o400;
/** Not becoming the terminal of this process, and not waiting for whatever it may be instead. */
const OPEN_TERMINAL = O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC;

type SocketCall = Extract<KernelCall, `sockets.${string}`>;

/** Sockets of the file system and the terminals sent over them; see Sockets in ports.ts. */
export const socketHandlers: CallHandlers<SocketCall> = {
  'sockets.connect': connect,
  'sockets.listen': listen,
  'sockets.accept'(listener) {
    const fd = libc.accept4(listener, null, null, SOCKET_FLAGS);
    return checkUnless(fd, ['EAGAIN'], 'accepting a connection') ? fd : undefined;
  },
  'sockets.receiveFd': receiveFd,
  'sockets.openCarrier'() {
    const ends = Buffer.alloc(8);
    check(libc.socketpair(AF_UNIX, SOCK_STREAM | SOCKET_FLAGS, 0, ends), 'making a socket pair');
    return [ends.readInt32LE(0), ends.readInt32LE(4)];
  },
  'sockets.moveOnto'(fd, [carrier, peer]) {
    try {
      check(libc.dup3(fd, carrier, O_CLOEXEC), `moving descriptor ${fd} onto ${carrier}`);
    } finally {
      libc.close(fd);
      libc.close(peer);
    }
  },
  'sockets.duplicate': (fd) =>
    check(libc.fcntl(fd, F_DUPFD_CLOEXEC, 0), `duplicating descriptor ${fd}`),
  'sockets.close'(fd) {
    libc.close(fd);
  },
  'sockets.resize'(terminal, rows, columns) {
    const action = `resizing terminal ${terminal} to ${rows} × ${columns}`;
    const size = Buffer.alloc(8);
    size.writeUInt16LE(rows, 0);
    size.writeUInt16LE(columns, 2);
    const resize = (fd: number): number => check(libc.ioctl(fd, TIOCSWINSZ, size), action);
    if (typeof terminal === 'number') resize(terminal);
    else withFd(check(libc.open(terminal, OPEN_TERMINAL, 0), action), resize);
  },
};

function connect(path: string): number {
  return openSocket(SOCK_SEQPACKET, path, (fd, address) => {
    check(libc.connect(fd, address, address.length), `connecting to ${path}`);
  });
}

function listen(path: string): number {
  return openSocket(SOCK_STREAM, path, (fd, address) => {
    const action = `listening on ${path}`;
    unlinkIfThere(path);
    check(libc.bind(fd, address, address.length), action);
    check(libc.listen(fd, 1), action);
  });
}

/** Closes the socket again when `use` throws. */
function openSocket(
  type: number,
  path: string,
  use: (fd: number, address: Uint8Array) => void,
): number {
  const fd = check(libc.socket(AF_UNIX, type | SOCKET_FLAGS, 0), `a socket for ${path}`);
  try {
    withFd(openPath(dirname(path), `a socket at ${path}`), (folder) => {
      use(fd, toAddress(folder, path));
    });
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** struct sockaddr_un, by way of the open folder: the path itself may be too long for one. */
function toAddress(folder: number, path: string): Uint8Array {
  const address = Buffer.alloc(2 + SUN_PATH_BYTES);
  const name = `/proc/self/fd/${folder}/${basename(path)}`;
  if (Buffer.byteLength(name) >= SUN_PATH_BYTES) {
    throw new HatobaError('invalid-argument', `the name of the socket ${path} is too long`);
  }
  address.writeUInt16LE(AF_UNIX, 0);
  address.write(name, 2);
  return address;
}

function receiveFd(connection: number): number {
  const action = 'receiving a descriptor';
  const text = Buffer.alloc(256);
  const control = Buffer.alloc(CMSG_BYTES);
  const message = {
    name: null,
    nameBytes: 0,
    parts: { base: text, sizeBytes: text.length },
    partCount: 1,
    control,
    controlBytes: control.length,
    flags: 0,
  };
  const received = check(libc.recvmsg(connection, message, MSG_CMSG_CLOEXEC), action);
  const isFd =
    Number(control.readBigUInt64LE(0)) >= CMSG_HEADER_BYTES + 4 &&
    control.readInt32LE(8) === SOL_SOCKET &&
    control.readInt32LE(12) === SCM_RIGHTS;
  if (received === 0 || !isFd) {
    throw new HatobaError('unavailable', `${action}: the sender has sent none`);
  }
  const fd = control.readInt32LE(CMSG_HEADER_BYTES);
  check(libc.fcntl(fd, F_SETFL, libc.fcntl(fd, F_GETFL, 0) | O_NONBLOCK), action);
  return fd;
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
