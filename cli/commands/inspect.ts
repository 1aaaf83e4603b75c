import { Option, type Command } from 'commander';
import { HatobaError, isKind } from '../../common/errors.js';
import { unary } from '../../proto/wire/client.js';
import { withEngine, type EngineSession } from '../engine-session.js';
import { dockerContainer, dockerImage, dockerVolume } from '../output/docker-inspect.js';
import { formatObject } from '../output/listing.js';
import { print } from '../output/print.js';
import { asInspect, type InspectOptions } from './options.js';

const KINDS = ['container', 'image', 'volume'] as const;
type InspectFlags = InspectOptions & { size: boolean; type?: (typeof KINDS)[number] };

/** `hatoba inspect`. */
export function registerInspect(program: Command): void {
  asInspect(
    program
      .command('inspect <name...>')
      .description('show all of containers, images or volumes, with the fields of docker inspect')
      .option('-s, --size', 'also how much each has written', false)
      .addOption(new Option('--type <type>', 'look only among these').choices(KINDS)),
  ).action((names: string[], flags: InspectFlags) =>
    withEngine(async (session) => {
      const found = [];
      for (const name of names) found.push(await inspectAny(session, name, flags));
      print(formatObject(found, flags));
    }),
  );
}

/** As docker: a container of this name, else an image, else a volume. */
async function inspectAny(
  { engine, signal }: EngineSession,
  name: string,
  { size, type }: InspectFlags,
): Promise<object> {
  const settings = { signal };
  const readers = {
    container: async () =>
      dockerContainer(
        await unary(engine.containerInspect.bind(engine), { container: name, size }, settings),
      ),
    image: async () =>
      dockerImage(await unary(engine.imageInspect.bind(engine), { image: name }, settings)),
    volume: async () =>
      dockerVolume(
        await unary(engine.volumeInspect.bind(engine), { volume: name, size }, settings),
      ),
  };
  if (type !== undefined) return readers[type]();
  for (const kind of KINDS) {
    try {
      return await readers[kind]();
    } catch (error) {
      const isElsewhere = isKind(error, 'not-found') || isKind(error, 'invalid-argument');
      if (!isElsewhere) throw error;
    }
  }
  throw new HatobaError('not-found', `no container, image or volume is called "${name}"`);
}
