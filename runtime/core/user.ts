import { HatobaError } from '../../common/errors.js';
import type { OciUser } from './oci-spec.js';

export interface ResolvedUser extends OciUser {
  /** Home directory by passwd, "/" when unknown. */
  home: string;
}

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}
interface GroupEntry {
  name: string;
  gid: number;
  members: readonly string[];
}

const MAX_ID = 2 ** 31 - 1;

/**
 * Resolves a user as Docker does: "", "name", "uid", "name:group", "uid:gid". A number needs no
 * entry; a name does. Without a group the user's own and those that list it as member apply; with
 * one, only that.
 * @param request.groups further groups, names or numbers
 * @param passwd text of the image's /etc/passwd, empty if it has none
 * @throws {HatobaError} invalid-argument naming what the image does not know
 */
export function resolveUser(
  request: { user: string; groups: readonly string[] },
  passwd: string,
  group: string,
): ResolvedUser {
  const groups = parseGroups(group);
  const [userText, groupText] = splitOnce(request.user);
  const entry = findUser(userText, parsePasswd(passwd));
  const extra = request.groups.map((text) => findGroup(text, groups));
  const listed =
    groupText === undefined && entry.name !== ''
      ? groups.filter((g) => g.members.includes(entry.name)).map((g) => g.gid)
      : [];
  const gid =
    groupText === undefined || groupText === '' ? entry.gid : findGroup(groupText, groups);
  return {
    uid: entry.uid,
    gid,
    additionalGids: [...new Set([...listed, ...extra])].toSorted((a, b) => a - b),
    home: entry.home === '' ? '/' : entry.home,
  };
}

/** Names of users by their numbers; of several names the first. */
export function parseUserNames(passwd: string): ReadonlyMap<number, string> {
  return new Map(
    parsePasswd(passwd)
      .toReversed()
      .map(({ uid, name }) => [uid, name]),
  );
}

function splitOnce(text: string): [string, string | undefined] {
  const colon = text.indexOf(':');
  return colon < 0 ? [text, undefined] : [text.slice(0, colon), text.slice(colon + 1)];
}

function findUser(text: string, entries: readonly PasswdEntry[]): PasswdEntry {
  const wanted = text === '' ? '0' : text;
  const id = toId(wanted);
  const found = entries.find((e) => e.name === wanted) ?? entries.find((e) => e.uid === id);
  if (found !== undefined) return found;
  if (id !== undefined) return { name: '', uid: id, gid: 0, home: id === 0 ? '/root' : '/' };
  throw new HatobaError(
    'invalid-argument',
    `user "${text}" is not in the image's /etc/passwd; use one that is, or a number`,
  );
}

function findGroup(text: string, entries: readonly GroupEntry[]): number {
  const found = entries.find((e) => e.name === text)?.gid ?? toId(text);
  if (found !== undefined) return found;
  throw new HatobaError(
    'invalid-argument',
    `group "${text}" is not in the image's /etc/group; use one that is, or a number`,
  );
}

function toId(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  if (id > MAX_ID) {
    throw new HatobaError(
      'invalid-argument',
      `id ${text} is too large: 0 to ${MAX_ID} are allowed`,
    );
  }
  return id;
}

/** Lines that make no sense are passed over, as the C library does. */
function parsePasswd(text: string): readonly PasswdEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , uid = '', gid = '', , home = ''] = line.split(':');
    if (name === '' || !/^\d+$/.test(uid) || !/^\d+$/.test(gid)) return [];
    return [{ name, uid: Number(uid), gid: Number(gid), home }];
  });
}

function parseGroups(text: string): readonly GroupEntry[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , gid = '', members = ''] = line.split(':');
    if (name === '' || !/^\d+$/.test(gid)) return [];
    return [{ name, gid: Number(gid), members: members.split(',') }];
  });
}
