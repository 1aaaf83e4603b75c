/**
 * The three functions of the reflect-metadata proposal that @peculiar/x509 (through tsyringe)
 * expects to find before it is loaded: import this first. Metadata of a class is looked up along
 * its prototype chain by `getMetadata`, on the class alone by `getOwnMetadata`.
 */
interface MetadataReflection {
  defineMetadata?(key: unknown, value: unknown, target: object): void;
  getOwnMetadata?(key: unknown, target: object): unknown;
  getMetadata?(key: unknown, target: object): unknown;
}

function install(reflect: MetadataReflection): void {
  if (reflect.getMetadata !== undefined) return; // another polyfill was there first
  const store = new WeakMap<object, Map<unknown, unknown>>();
  reflect.defineMetadata = (key, value, target) => {
    const own = store.get(target) ?? new Map<unknown, unknown>();
    store.set(target, own.set(key, value));
  };
  reflect.getOwnMetadata = (key, target) => store.get(target)?.get(key);
  reflect.getMetadata = (key, target) => {
    for (
      let at: object | null = target;
      at !== null;
      at = Object.getPrototypeOf(at) as object | null
    ) {
      const own = store.get(at);
      if (own?.has(key) === true) return own.get(key);
    }
    return undefined;
  };
}

install(Reflect as MetadataReflection);
