import { chownSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { IdMap } from '../../linux/ports.js';
import { completeDns, formatHosts, formatResolvConf, parseResolvConf } from '../core/host-files.js';
import type { ContainerConfig } from '../engine.js';
import type { ContainerFiles } from './paths.js';

const HOST_RESOLV_CONF = '/etc/resolv.conf';

/**
 * Writes the container's own /etc/hosts, /etc/hostname and /etc/resolv.conf.
 * @returns target → path of the file on the host
 */
export function writeEtc(
  config: ContainerConfig,
  { files, hostname, idMap }: { files: ContainerFiles; hostname: string; idMap?: IdMap },
): Record<string, string> {
  const texts = {
    hosts: formatHosts(config.hosts, config.spec.hosts),
    hostname: `${hostname}\n`,
    'resolv.conf': resolvConf(config),
  };
  return Object.fromEntries(
    Object.entries(texts).map(([name, text]) => {
      writeFileSync(`${files.etc}/${name}`, text, { mode: 0o644 });
      if (idMap !== undefined) {
        chownSync(`${files.etc}/${name}`, idMap.uids.firstId, idMap.gids.firstId);
      }
      return [`/etc/${name}`, `${files.etc}/${name}`];
    }),
  );
}

/** On the host's network, without any settings of its own, a container has the very file of the host. */
function resolvConf(config: ContainerConfig): string {
  const own = config.spec.dnsConfig;
  const pick = (key: 'nameservers' | 'search' | 'options'): readonly string[] =>
    config.dns[key].length > 0 ? config.dns[key] : (own?.[key] ?? []);
  const dns = {
    nameservers: pick('nameservers'),
    search: pick('search'),
    options: pick('options'),
  };
  const isEmpty = Object.values(dns).every((list) => list.length === 0);
  const isOnHost = config.netns === 'host';
  const ofHost = existsSync(HOST_RESOLV_CONF) ? readFileSync(HOST_RESOLV_CONF, 'utf8') : '';
  if (isEmpty && isOnHost) return ofHost;
  return formatResolvConf(completeDns(dns, parseResolvConf(ofHost), isOnHost));
}
