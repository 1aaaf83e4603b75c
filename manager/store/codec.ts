import type * as wire from '../../proto/gen/hatoba/v1/types.js';
import * as pb from '../../proto/gen/hatoba/v1/types.js';
import {
  checkCluster,
  checkNetwork,
  checkNode,
  checkService,
  checkServiceRevision,
  checkStack,
} from '../../proto/wire/check.js';
import { wrapError } from '../../common/errors.js';
import type { Kind, ObjectOfKind } from '../core/snapshot.js';
import { deepFreeze } from './freeze.js';
import { TaskCodec } from './task-codec.js';

export { deepFreeze };

interface Codec<K extends Kind> {
  encode(object: ObjectOfKind[K]): Uint8Array;
  decode(bytes: Uint8Array): ObjectOfKind[K];
}

/** The fields that are filled in on read are not stored. */
const CODECS: { readonly [K in Kind]: Codec<K> } = {
  cluster: {
    encode: (cluster) => finish(pb.Cluster, { ...cluster, version: 0 }),
    decode: (bytes) => checkCluster(pb.Cluster.decode(bytes)),
  },
  service: {
    encode: (service) => finish(pb.Service, { ...service, version: 0, serviceStatus: undefined }),
    decode: (bytes) => checkService(pb.Service.decode(bytes)),
  },
  revision: {
    encode: (revision) => finish(pb.ServiceRevision, { ...revision, version: 0 }),
    decode: (bytes) => checkServiceRevision(pb.ServiceRevision.decode(bytes)),
  },
  task: new TaskCodec(),
  node: {
    encode: (node) =>
      finish(pb.Node, {
        ...node,
        version: 0,
        managerStatus:
          node.managerStatus === undefined ? undefined : { ...node.managerStatus, leader: false },
      }),
    decode: (bytes) => checkNode(pb.Node.decode(bytes)),
  },
  network: {
    encode: (network) => finish(pb.Network, { ...network, version: 0 }),
    decode: (bytes) => checkNetwork(pb.Network.decode(bytes)),
  },
  stack: {
    encode: (stack) => finish(pb.Stack, { ...stack, version: 0 }),
    decode: (bytes) => checkStack(pb.Stack.decode(bytes)),
  },
  attachment: {
    encode: (attachment) => finish(pb.Attachment, { ...attachment, version: 0 }),
    decode: (bytes) => pb.Attachment.decode(bytes),
  },
};

function finish<T>(type: wire.MessageFns<T>, message: T): Uint8Array {
  return type.encode(message).finish();
}

/** The stored value of an object. */
export function encodeObject<K extends Kind>(kind: K, object: ObjectOfKind[K]): Uint8Array {
  return CODECS[kind].encode(object);
}

/**
 * The object in a stored value, deeply frozen, with `revision` as its version.
 * @throws {HatobaError} when the value is not a valid object of that kind
 */
export function decodeObject<K extends Kind>(
  kind: K,
  bytes: Uint8Array,
  revision: number,
): ObjectOfKind[K] {
  try {
    const object = CODECS[kind].decode(bytes);
    object.version = revision;
    return deepFreeze(object);
  } catch (error) {
    throw wrapError(error, `stored ${kind} of revision ${revision}`);
  }
}
