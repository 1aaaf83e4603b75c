/** The files every container gets of its own: /etc/hosts, /etc/hostname, /etc/resolv.conf. */

const LOCAL_HOSTS = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

/**
 * @param own addresses and names its caller knows
 * @param lines "ADDRESS NAME…" as the user wrote them
 */
export function formatHosts(
  own: readonly { address: string; names: readonly string[] }[],
  lines: readonly string[],
): string {
  const rows = [...own.map(({ address, names }) => `${address}\t${names.join(' ')}`), ...lines];
  return LOCAL_HOSTS + rows.map((row) => `${row}\n`).join('');
}

export interface DnsSettings {
  nameservers: readonly string[];
  search: readonly string[];
  options: readonly string[];
}

/**
 * What a container's resolv.conf says: what is left open is the host's; but its servers and options
 * only on the host's own network, as they may mean nothing elsewhere.
 * @param own "." alone among the search domains: none, not even the host's
 */
export function completeDns(own: DnsSettings, host: DnsSettings, isOnHost: boolean): DnsSettings {
  const or = (list: readonly string[], otherwise: readonly string[]): readonly string[] =>
    list.length > 0 || !isOnHost ? list : otherwise;
  return {
    nameservers: or(own.nameservers, host.nameservers),
    search: (own.search.length > 0 ? own.search : host.search).filter((d) => d !== '.'),
    options: or(own.options, host.options),
  };
}

/** Of what is said twice, servers add up, and the last line of the others counts (resolv.conf(5)). */
export function parseResolvConf(text: string): DnsSettings {
  const dns: DnsSettings = { nameservers: [], search: [], options: [] };
  for (const line of text.split('\n')) {
    const [key, ...values] = line.trim().split(/\s+/);
    if (key === 'nameserver') dns.nameservers = [...dns.nameservers, ...values.slice(0, 1)];
    if (key === 'search' || key === 'domain') dns.search = values;
    if (key === 'options') dns.options = values;
  }
  return dns;
}

export function formatResolvConf(dns: DnsSettings): string {
  return [
    ...dns.nameservers.map((address) => `nameserver ${address}\n`),
    ...(dns.search.length > 0 ? [`search ${dns.search.join(' ')}\n`] : []),
    ...(dns.options.length > 0 ? [`options ${dns.options.join(' ')}\n`] : []),
  ].join('');
}
