import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';

/** What makes, shows and removes volumes. */
export function volumeMethods({
  engine,
}: EngineMethodsModules): EngineMethods<
  'volumeCreate' | 'volumeList' | 'volumeInspect' | 'volumeRemove' | 'volumePrune'
> {
  const { volumes } = engine;
  return {
    volumeCreate: ({ name, driver, labels, driverOpts }) =>
      volumes.create(name, { driver, labels, driverOpts }),
    volumeList: async () => ({ volumes: await volumes.list() }),
    volumeInspect: ({ volume, size }) => volumes.inspect(volume, { size }),
    async volumeRemove({ volumes: names, force }) {
      for (const name of names) await volumes.remove(name, { force });
      return {};
    },
    volumePrune: ({ all }) => volumes.prune({ all }),
  };
}
