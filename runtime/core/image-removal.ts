import { HatobaError } from '../../common/errors.js';
import { hexOf, type Digest } from './digest.js';
import { familiarReference, parseImageReference } from './image-ref.js';

/** A container that was made from an image. */
export interface ImageUser {
  /** Its name. */
  readonly container: string;
  readonly isRunning: boolean;
}

export interface RemovalRequest {
  readonly id: Digest;
  /** Key of the reference it is asked for by; undefined when by its id. */
  readonly reference: string | undefined;
  /** Keys of all references that name the image. */
  readonly references: readonly string[];
  readonly users: readonly ImageUser[];
  readonly force: boolean;
}

export interface Removal {
  /** Keys of references. */
  readonly untag: readonly string[];
  /** Whether the image goes too. */
  readonly deletesImage: boolean;
}

/**
 * What `image rm` takes away, by Docker's rules: a reference goes, and the image with the last one;
 * an id takes the image and its only name. The image of a container never goes: by force it only
 * loses its names.
 * @throws {HatobaError} failed-precondition saying what stands in the way
 */
export function planRemoval(request: RemovalRequest): Removal {
  const { reference, references, users, force } = request;
  const untag = reference === undefined ? references : withoutDigests(reference, references);
  if (untag.length < references.length) return { untag, deletesImage: false };
  if (reference === undefined) refuseById(request);
  if (users.length > 0 && !force) {
    const subject = reference === undefined ? idOf(request) : `image "${familiar(reference)}"`;
    throw new HatobaError(
      'failed-precondition',
      `${subject} is used by ${describeUsers(users)}: remove that first, or take only the image's name away by force`,
    );
  }
  return { untag, deletesImage: users.length === 0 };
}

/** The reference, and those by digest of a repository that is left without a tag. */
function withoutDigests(reference: string, references: readonly string[]): string[] {
  const repository = repositoryOf(reference);
  const rest = references.filter((key) => key !== reference && repositoryOf(key) === repository);
  const isTagged = rest.some((key) => parseImageReference(key).digest === undefined);
  return isTagged ? [reference] : [reference, ...rest];
}

function refuseById(request: RemovalRequest): void {
  const { references, users, force } = request;
  const tags = references.filter((key) => parseImageReference(key).digest === undefined);
  const repositories = new Set(references.map(repositoryOf));
  if (!force && (tags.length > 1 || repositories.size > 1)) {
    throw new HatobaError(
      'failed-precondition',
      `${idOf(request)} has several names (${references.map(familiar).join(', ')}): remove them one by one, or all by force`,
    );
  }
  const running = users.filter((user) => user.isRunning);
  if (running.length === 0) return;
  throw new HatobaError(
    'failed-precondition',
    `${idOf(request)} is used by ${describeUsers(running)}, and cannot be removed by force either: stop and remove that first`,
  );
}

function describeUsers(users: readonly ImageUser[]): string {
  const names = users.map(
    ({ container, isRunning }) => `${container}${isRunning ? ' (running)' : ''}`,
  );
  return `container${users.length === 1 ? '' : 's'} ${names.sort().join(', ')}`;
}

function idOf({ id }: RemovalRequest): string {
  return `image ${hexOf(id).slice(0, 12)}`;
}

function familiar(key: string): string {
  return familiarReference(parseImageReference(key));
}

function repositoryOf(key: string): string {
  const { registry, repository } = parseImageReference(key);
  return `${registry}/${repository}`;
}
