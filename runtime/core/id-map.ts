import { HatobaError } from '../../common/errors.js';
import type { IdMap, IdRange } from '../../linux/ports.js';
import type { ContainerSpec } from '../../proto/gen/hatoba/v1/types.js';
import type { NamespaceModes } from './namespace-plan.js';
import type { OciIdMapping, OciLinux } from './oci-spec.js';

/**
 * What containers with users of their own get where /etc/subuid and /etc/subgid offer nothing. The
 * range is above those that Debian's useradd (from 100000) and systemd (524288 to 1879048191) give
 * away, and below the ids that some programs take for negative.
 */
export const DEFAULT_ID_RANGE: IdRange = { firstId: 1_879_048_192, count: 65_536 };

/** Whose subordinate ids containers get: the first of these that has some. */
export const SUBORDINATE_USERS: readonly string[] = ['hatoba', 'dockremap'];

/** -1 and 65535 aside, all 32-bit numbers can be ids. */
const MAX_ID = 0xffff_fffe;

/**
 * The subordinate ids of a user, subuid(5): "hatoba:100000:65536". Lines that do not have this form
 * are left out, as login's tools do.
 * @param names in order of preference
 */
export function parseSubordinateIds(text: string, names: readonly string[]): IdRange | undefined {
  const rows = text.split('\n').flatMap((line) => {
    const [, name = '', first = '', count = ''] = /^([^:#]+):(\d+):(\d+)$/.exec(line.trim()) ?? [];
    const range = { firstId: Number(first), count: Number(count) };
    return isRange(range) ? [{ name, range }] : [];
  });
  for (const wanted of names) {
    const found = rows.find((row) => row.name === wanted);
    if (found !== undefined) return found.range;
  }
  return undefined;
}

/**
 * The users of a container that asks for its own.
 * @param offered of this machine
 * @returns undefined for the machine's users
 * @throws {HatobaError} invalid-argument for an unknown mode, or one that contradicts another wish
 */
export function planIdMap(
  spec: Pick<ContainerSpec, 'usernsMode' | 'privileged'>,
  modes: Pick<NamespaceModes, 'pid' | 'network'>,
  offered: IdMap,
): IdMap | undefined {
  switch (spec.usernsMode) {
    case '':
    case 'host':
      return undefined;
    case 'remap':
      break;
    default:
      return refuse(
        `user namespace mode "${spec.usernsMode}" is unknown; there are host and remap`,
      );
  }
  if (spec.privileged) refuse('a privileged container cannot have users of its own');
  for (const kind of ['pid', 'network'] as const) {
    if (modes[kind] !== 'host') continue;
    refuse(`a container with users of its own cannot be on the host's ${kind} namespace`);
  }
  return offered;
}

/** As the OCI runtime takes it. */
export function planIdMappings({
  uids,
  gids,
}: IdMap): Required<Pick<OciLinux, 'uidMappings' | 'gidMappings'>> {
  const toMapping = ({ firstId, count }: IdRange): OciIdMapping => {
    return { containerID: 0, hostID: firstId, size: count };
  };
  return { uidMappings: [toMapping(uids)], gidMappings: [toMapping(gids)] };
}

function isRange({ firstId, count }: IdRange): boolean {
  return firstId > 0 && count > 0 && firstId + count - 1 <= MAX_ID;
}

function refuse(message: string): never {
  throw new HatobaError('invalid-argument', message);
}
