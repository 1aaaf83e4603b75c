import type { Node } from '../../../common/model/objects.js';
import { toWord } from '../../../common/model/words.js';
import {
  NodeAvailability,
  NodeRole,
  NodeState,
  type Taint,
} from '../../../proto/gen/hatoba/v1/types.js';
import { nodeEvent, type Happening, type NewEvent } from './new-event.js';

/**
 * What the change of a node says.
 * @param before undefined: it is new, or was not seen before
 */
export function eventsOfNode(before: Node | undefined, after: Node): NewEvent[] {
  const atMs = after.updatedAtMs;
  const said = [
    before === undefined ? joined(after) : undefined,
    state(before, after),
    ...(before === undefined
      ? []
      : [
          availability(before, after),
          role(before, after),
          listed('LabelsChanged', before.spec.labels, after.spec.labels, atMs),
          listed('TaintsChanged', taintsOf(before), taintsOf(after), atMs),
        ]),
  ];
  return said.flatMap((what) => (what === undefined ? [] : nodeEvent(after, what)));
}

export function eventsOfRemovedNode(node: Node): NewEvent[] {
  const message = 'removed from the cluster';
  return [nodeEvent(node, { reason: 'Removed', message, atMs: node.updatedAtMs })];
}

function joined({ spec, status, createdAtMs: atMs }: Node): Happening {
  const from = status.addr === '' ? '' : ` from ${status.addr}`;
  return { reason: 'Joined', message: `as ${toWord(spec.role)}${from}`, atMs };
}

const STATES: Partial<Record<NodeState, Pick<Happening, 'reason' | 'isWarning'>>> = {
  [NodeState.READY]: { reason: 'Ready' },
  [NodeState.DISCONNECTED]: { reason: 'Disconnected', isWarning: true },
  [NodeState.DOWN]: { reason: 'Down', isWarning: true },
};

function state(before: Node | undefined, { status }: Node): Happening | undefined {
  const said = status.state === before?.status.state ? undefined : STATES[status.state];
  if (said === undefined) return undefined;
  return { ...said, message: status.message, atMs: status.stateChangedAtMs };
}

const AVAILABILITIES: Readonly<Record<NodeAvailability, [reason: string, message: string]>> = {
  [NodeAvailability.ACTIVE]: ['Activated', 'takes tasks again'],
  [NodeAvailability.PAUSE]: ['Paused', 'keeps its tasks and takes no new ones'],
  [NodeAvailability.DRAIN]: ['Drained', 'its tasks are moved away'],
};

function availability(before: Node, after: Node): Happening | undefined {
  if (before.spec.availability === after.spec.availability) return undefined;
  const [reason, message] = AVAILABILITIES[after.spec.availability];
  return { reason, message, atMs: after.updatedAtMs };
}

function role(before: Node, after: Node): Happening | undefined {
  if (before.spec.role === after.spec.role) return undefined;
  const reason = after.spec.role === NodeRole.MANAGER ? 'Promoted' : 'Demoted';
  return { reason, message: `to ${toWord(after.spec.role)}`, atMs: after.updatedAtMs };
}

type Words = Readonly<Record<string, string>>;

/** "+disk=ssd, zone=a → b, -old". */
function listed(reason: string, before: Words, after: Words, atMs: number): Happening | undefined {
  const changes = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .sort()
    .flatMap((key) => {
      const [was, is] = [before[key], after[key]];
      if (was === is) return [];
      if (was === undefined) return `+${pair(key, is)}`;
      return is === undefined ? `-${key}` : `${pair(key, was)} → ${is}`;
    });
  return changes.length === 0 ? undefined : { reason, message: changes.join(', '), atMs };
}

function pair(key: string, value = ''): string {
  return value === '' ? key : `${key}=${value}`;
}

/** A node may have one key with several effects. */
function taintsOf({ spec }: Node): Words {
  const effectOf = ({ effect }: Taint): string => toWord(effect);
  return Object.fromEntries(spec.taints.map((t) => [`${t.key}:${effectOf(t)}`, t.value]));
}
