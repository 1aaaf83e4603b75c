import { readFileSync } from 'node:fs';
import { describeError, errnoOf, HatobaError } from '../../common/errors.js';
import type { MountPoint } from '../../proto/gen/hatoba/v1/engine.js';
import { Mount, MountType, type Mount as MountConfig } from '../../proto/gen/hatoba/v1/types.js';
import { unary } from '../../proto/wire/client.js';
import type { EngineSession } from '../engine-session.js';
import { note } from '../output/print.js';
import { wrong } from '../words/wrong.js';
import type { ContainerFlags } from './container-flags.js';
import { toCreateRequest } from './create-request.js';
import { ensureImage } from './ensure-image.js';

/** Makes the container that the flags of `run` and `create` ask for. @returns its id */
export async function createContainer(
  session: EngineSession,
  image: string,
  words: readonly string[],
  flags: ContainerFlags & { stdinOnce?: boolean },
): Promise<string> {
  const { engine, signal, config } = session;
  const details = await ensureImage(session, image, flags);
  const request = toCreateRequest(image, words, flags, {
    baseDir: process.cwd(),
    variables: config.variables,
    readFile,
    exposedPorts: details.config?.exposedPorts ?? [],
    mountsOfOthers: await mountsOfOthers(session, flags.volumesFrom),
  });
  signal.throwIfAborted();
  // Not given up on the way: nobody would know of a container that is made all the same.
  const { id, warnings } = await unary(engine.containerCreate.bind(engine), request);
  for (const warning of warnings) note(`warning: ${warning}`);
  return id;
}

/** @throws {HatobaError} naming the file */
export function readFile(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const kind = errnoOf(error) === 'ENOENT' ? 'not-found' : 'invalid-argument';
    throw new HatobaError(kind, `${path} cannot be read: ${describeError(error)}`);
  }
}

/** `--volumes-from NAME[:ro|:rw]`: its binds and volumes at the same places. */
async function mountsOfOthers(
  { engine, signal }: EngineSession,
  names: readonly string[],
): Promise<MountConfig[]> {
  const mounts: MountConfig[] = [];
  for (const text of names) {
    const [container = '', mode = 'rw'] = text.split(':');
    if (!['ro', 'rw'].includes(mode)) {
      throw wrong(`--volumes-from "${text}": the mode is ro or rw, not "${mode}"`);
    }
    const request = { container, size: false };
    const other = await unary(engine.containerInspect.bind(engine), request, { signal });
    const taken = other.mounts.filter((m) => m.type !== 'tmpfs');
    mounts.push(...taken.map((m) => sameMount(m, mode === 'ro')));
  }
  return mounts;
}

function sameMount(mount: MountPoint, readOnly: boolean): MountConfig {
  const isVolume = mount.type === 'volume';
  return Mount.fromPartial({
    type: isVolume ? MountType.VOLUME : MountType.BIND,
    source: isVolume ? mount.name : mount.source,
    target: mount.destination,
    readOnly: readOnly || !mount.rw,
    ...(isVolume ? {} : { bindOptions: { propagation: mount.propagation } }),
  });
}
