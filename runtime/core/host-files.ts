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

export function formatResolvConf(dns: DnsSettings): string {
  return [
    ...dns.nameservers.map((address) => `nameserver ${address}\n`),
    ...(dns.search.length > 0 ? [`search ${dns.search.join(' ')}\n`] : []),
    ...(dns.options.length > 0 ? [`options ${dns.options.join(' ')}\n`] : []),
  ].join('');
}
