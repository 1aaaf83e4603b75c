import type { Task, TaskSpec } from '../../common/model/objects.js';
import * as pb from '../../proto/gen/hatoba/v1/types.js';
import { checkTask, fillInTask } from '../../proto/wire/check.js';
import { equalData } from '../core/equal.js';
import { deepFreeze } from './freeze.js';

/** Of `Task.spec`: field 10, bytes with their length before them. */
const SPEC_TAG = (10 << 3) | 2;
/** Specs known beyond that are decoded again. */
const MAX_SPECS = 10_000;

/**
 * Thousands of tasks of one service carry one and the same spec, which is most of what a task is.
 * So it stands first in a stored task, where it can be taken off: equal ones are decoded once and
 * are one object in memory, and each is encoded once. For protobuf that is a message like any
 * other, as fields may come in any order.
 */
export class TaskCodec {
  /** What stands before the rest of a task → the spec in it. */
  readonly #decoded = new Map<string, TaskSpec>();
  readonly #encoded = new WeakMap<TaskSpec, Uint8Array>();
  /** The last task decoded with a spec: what else the next one has in common with it is shared. */
  readonly #last = new WeakMap<TaskSpec, Task>();

  encode(task: Task): Uint8Array {
    const head = this.#encodeHead(task.spec);
    const rest = pb.Task.encode({ ...task, version: 0, spec: undefined }).finish();
    return Buffer.concat([head, rest], head.length + rest.length);
  }

  /** @throws {HatobaError} invalid-argument; what the protobuf decoder throws */
  decode(bytes: Uint8Array): Task {
    const length = headLength(bytes);
    if (length === undefined) return checkTask(pb.Task.decode(bytes)); // by an older version
    const spec = this.#decodeHead(bytes.subarray(0, length));
    const task = fillInTask(pb.Task.decode(bytes.subarray(length)), spec);
    task.networksAttachments = task.networksAttachments.map(compact);
    const last = this.#last.get(spec);
    if (last === undefined) this.#last.set(spec, task);
    else shareWith(last, task);
    return task;
  }

  #encodeHead(spec: TaskSpec): Uint8Array {
    const known = this.#encoded.get(spec);
    if (known !== undefined) return known;
    const head = pb.Task.encode(pb.Task.fromPartial({ spec })).finish();
    if (Object.isFrozen(spec)) this.#encoded.set(spec, head);
    return head;
  }

  #decodeHead(head: Uint8Array): TaskSpec {
    const key = Buffer.from(head.buffer, head.byteOffset, head.length).toString('latin1');
    const known = this.#decoded.get(key);
    if (known !== undefined) return known;
    const { spec } = deepFreeze(checkTask(pb.Task.decode(head)));
    for (const oldest of this.#decoded.keys()) {
      if (this.#decoded.size < MAX_SPECS) break;
      this.#decoded.delete(oldest);
    }
    this.#decoded.set(key, spec);
    return spec;
  }
}

/** Without the room that lists keep for more when they have grown. */
function compact(attachment: pb.NetworkAttachment): pb.NetworkAttachment {
  const { networkId, networkName, addresses, aliases } = attachment;
  return { networkId, networkName, addresses: addresses.slice(), aliases };
}

/** Has what is equal in both once in memory. */
function shareWith(last: Task, task: Task): void {
  if (task.serviceId === last.serviceId) task.serviceId = last.serviceId;
  if (task.serviceName === last.serviceName) task.serviceName = last.serviceName;
  if (task.cause === last.cause) task.cause = last.cause;
  if (equalData(task.serviceLabels, last.serviceLabels)) task.serviceLabels = last.serviceLabels;
  if (equalData(task.hostPorts, last.hostPorts)) task.hostPorts = last.hostPorts;
  for (const [i, attachment] of task.networksAttachments.entries()) {
    const other = last.networksAttachments[i];
    if (other?.networkId !== attachment.networkId) continue;
    attachment.networkId = other.networkId;
    if (other.networkName === attachment.networkName) attachment.networkName = other.networkName;
    if (attachment.aliases.length === 0) attachment.aliases = other.aliases;
  }
}

/** Of the spec at the beginning, with its tag and length; undefined when it stands elsewhere. */
function headLength(bytes: Uint8Array): number | undefined {
  if (bytes[0] !== SPEC_TAG) return undefined;
  let length = 0;
  for (let at = 1; at < bytes.length && at <= 4; at++) {
    const byte = bytes[at] ?? 0;
    length |= (byte & 0x7f) << (7 * (at - 1));
    if (byte < 0x80) return at + 1 + length;
  }
  return undefined;
}
