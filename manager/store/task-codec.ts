import type { Task, TaskSpec } from '../../common/model/objects.js';
import * as pb from '../../proto/gen/hatoba/v1/types.js';
import { checkTask, checkTaskBeside } from '../../proto/wire/check.js';
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
    return checkTaskBeside(pb.Task.decode(bytes.subarray(length)), spec);
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
