import { firstSubnet } from '../../overlay-net/core/subnets.js';
import type { EngineNetwork } from '../../proto/gen/hatoba/v1/engine.js';
import { attachmentOf } from './attachment.js';
import type { EngineMethods, EngineMethodsModules } from './engine-methods.js';

/** What shows the network that only this node has. */
export function networkMethods({
  engine,
  bridge,
}: EngineMethodsModules): EngineMethods<'networkList'> {
  const bridgeNow = (): EngineNetwork => {
    const { networkId: id, name, driver, mtuBytes } = bridge.network;
    const containers = engine.containers.list().flatMap(({ config }) => {
      const attachment = attachmentOf(config);
      if (attachment?.mode !== 'bridge') return [];
      return [{ id: config.id, name: config.name, address: attachment.address }];
    });
    return { id, name, driver, mtuBytes, ...firstSubnet(bridge.network), containers };
  };
  return { networkList: () => Promise.resolve({ networks: [bridgeNow()] }) };
}
