import { parseCapability } from '../../../common/model/capabilities.js';
import { parseSignal } from '../../../common/model/signals.js';
import { parseSysctl } from '../../../common/model/sysctls.js';
import { checkUlimit } from '../../../common/model/ulimits.js';
import { isTemplate } from '../../../common/template/task-templates.js';
import type { ContainerSpec, Device, HealthConfig } from '../../../proto/gen/hatoba/v1/types.js';
import { checkDns, isIpAddress } from './dns-spec.js';
import { checkIsolation } from './isolation-spec.js';
import { checkLabels } from './label-spec.js';
import { checkMounts } from './mount-spec.js';
import { checkNotNegative, checkText, type Problems } from './problem.js';

/** host[:port]/path:tag@digest, Docker's grammar in outline; the registry has the last word. */
const IMAGE =
  /^(?:[a-zA-Z0-9][a-zA-Z0-9.-]*(?::\d+)?\/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*(?::\w[\w.-]{0,127})?(?:@sha256:[a-f0-9]{64})?$/;
/** What the kernel takes for one, and a line of /etc/hosts. */
const HOSTNAME = /^[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,62}[a-zA-Z0-9])?$/;
/** A user or group by number or name, as of the image. */
const OWNER = /^[^:\s]+$/;
const ACCESS = /^[rwm]{0,3}$/;

/**
 * Every mistake that can be seen without the image and the node.
 * @param spec with its templates expanded, as far as they can be
 */
export function checkContainer(spec: ContainerSpec, problems: Problems): void {
  const image = problems.at('image');
  if (spec.image === '') image.add('an image is required');
  else image.require(IMAGE.test(spec.image), `"${spec.image}" is not an image reference`);
  checkLabels(spec.labels, problems.at('labels'));
  checkProcess(spec, problems);
  checkNames(spec, problems);
  checkRights(spec, problems);
  if (spec.healthcheck !== undefined) checkHealth(spec.healthcheck, problems.at('healthcheck'));
  if (spec.dnsConfig !== undefined) checkDns(spec.dnsConfig, problems.at('dnsConfig'));
  checkMounts(spec.mounts, problems);
  checkIsolation(spec, problems);
}

/** What runs, as whom, and how it is stopped. */
function checkProcess(spec: ContainerSpec, problems: Problems): void {
  for (const field of ['command', 'args'] as const) {
    spec[field].forEach((word, i) => {
      checkText(word, problems.at(`${field}[${i}]`));
    });
  }
  spec.env.forEach((entry, i) => {
    const at = problems.at(`env[${i}]`);
    at.require(/^[^=]/.test(entry), `"${entry}" is not NAME=value`);
    checkText(entry, at);
  });
  const { dir, user, groups, stopSignal } = spec;
  const isPath = dir === '' || dir.startsWith('/');
  problems.at('dir').require(isPath, `"${dir}" is not an absolute path`);
  const [owner = '', group, ...rest] = user.split(':');
  const isUser = OWNER.test(owner) && (group === undefined || OWNER.test(group));
  problems
    .at('user')
    .require(
      user === '' || (isUser && rest.length === 0),
      `"${user}" is not USER or USER:GROUP, by number or name`,
    );
  groups.forEach((name, i) => {
    problems.at(`groups[${i}]`).require(OWNER.test(name), `"${name}" is not a group`);
  });
  if (stopSignal !== '') problems.at('stopSignal').try(() => parseSignal(stopSignal));
  checkNotNegative(spec, ['stopGracePeriodMs', 'shmSizeBytes'], problems);
}

/** What it is called, and whom it calls how. */
function checkNames({ hostname, domainname, hosts }: ContainerSpec, problems: Problems): void {
  if (!isTemplate(hostname)) {
    problems
      .at('hostname')
      .require(
        hostname === '' || HOSTNAME.test(hostname),
        `"${hostname}" is not a host name: letters, digits, "-", "_" and ".", at most 64 characters`,
      );
  }
  problems
    .at('domainname')
    .require(
      domainname === '' || HOSTNAME.test(domainname),
      `"${domainname}" is not a domain name`,
    );
  hosts.forEach((line, i) => {
    const [address = '', ...names] = line.split(/\s+/);
    problems
      .at(`hosts[${i}]`)
      .require(
        isIpAddress(address) && names.length > 0 && names.every((n) => HOSTNAME.test(n)),
        `"${line}" is not ADDRESS NAME…, as /etc/hosts has it`,
      );
  });
}

/** What it may do beyond others, and how much it may use. */
function checkRights(spec: ContainerSpec, problems: Problems): void {
  for (const field of ['capabilityAdd', 'capabilityDrop'] as const) {
    spec[field].forEach((name, i) => {
      problems.at(`${field}[${i}]`).try(() => parseCapability(name));
    });
  }
  for (const name of Object.keys(spec.sysctls)) {
    problems.at(`sysctls.${name}`).try(() => parseSysctl(name));
  }
  const limited = new Set<string>();
  spec.ulimits.forEach((ulimit, i) => {
    const at = problems.at(`ulimits[${i}]`);
    at.try(() => checkUlimit(ulimit));
    at.require(!limited.has(ulimit.name), `ulimit ${ulimit.name} is given twice`);
    limited.add(ulimit.name);
  });
  spec.devices.forEach((device, i) => {
    checkDevice(device, problems.at(`devices[${i}]`));
  });
  checkSeccomp(spec.seccomp, problems.at('seccomp'));
}

function checkDevice(device: Device, problems: Problems): void {
  const { pathOnHost, pathInContainer, cgroupPermissions } = device;
  problems
    .at('pathOnHost')
    .require(pathOnHost.startsWith('/'), `"${pathOnHost}" is not an absolute path`);
  problems
    .at('pathInContainer')
    .require(
      pathInContainer === '' || pathInContainer.startsWith('/'),
      `"${pathInContainer}" is not an absolute path`,
    );
  problems
    .at('cgroupPermissions')
    .require(ACCESS.test(cgroupPermissions), `"${cgroupPermissions}" is not made of r, w and m`);
}

/** In outline: the node reads the profile. */
function checkSeccomp(text: string, problems: Problems): void {
  if (text === '' || text === 'unconfined') return;
  let isProfile = false;
  try {
    const value: unknown = JSON.parse(text);
    isProfile = typeof value === 'object' && value !== null && 'defaultAction' in value;
  } catch {
    // so it is none
  }
  problems.require(isProfile, 'is neither "unconfined" nor a profile: JSON with "defaultAction"');
}

function checkHealth(health: HealthConfig, problems: Problems): void {
  checkNotNegative(
    health,
    ['intervalMs', 'timeoutMs', 'startPeriodMs', 'startIntervalMs', 'retries'],
    problems,
  );
  const [kind, ...rest] = health.test;
  if (kind === undefined) return;
  const test = problems.at('test');
  if (kind === 'NONE') test.require(rest.length === 0, 'NONE takes no arguments');
  else if (kind === 'CMD-SHELL') test.require(rest.length === 1, 'CMD-SHELL takes one argument');
  else if (kind === 'CMD') test.require(rest.length > 0, 'CMD needs a command');
  else test.add(`begins with "${kind}" instead of NONE, CMD or CMD-SHELL`);
}
