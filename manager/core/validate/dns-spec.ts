import { isAddress } from '../../../overlay-net/core/ipam.js';
import type { DNSConfig } from '../../../proto/gen/hatoba/v1/types.js';
import type { Problems } from './problem.js';

/** In outline: the node that asks the server has the last word. */
const IPV6 = /^(?=.*:)[\da-fA-F:]+(?:\d+\.\d+\.\d+\.\d+)?(?:%[\w.-]+)?$/;
/** As it goes into a line of resolv.conf. */
const WORD = /^\S+$/;

/** Of either version. */
export function isIpAddress(text: string): boolean {
  return isAddress(text) || IPV6.test(text);
}

/** What a user says about the resolver of a container. */
export function checkDns(dns: DNSConfig, problems: Problems): void {
  dns.nameservers.forEach((address, i) => {
    problems
      .at(`nameservers[${i}]`)
      .require(
        isIpAddress(address),
        `"${address}" is not an IP address: DNS servers are given as addresses, for example 192.0.2.53`,
      );
  });
  for (const field of ['search', 'options'] as const) {
    dns[field].forEach((word, i) => {
      problems
        .at(`${field}[${i}]`)
        .require(WORD.test(word), `"${word}" is not one word, as resolv.conf needs it`);
    });
  }
}
