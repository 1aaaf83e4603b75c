import { HatobaError } from '../../common/errors.js';
import { shortId } from '../../common/model/ids.js';
import type {
  ContainerCreateRequest,
  EngineRestartPolicy,
} from '../../proto/gen/hatoba/v1/engine.js';
import { Limit, type ContainerSpec } from '../../proto/gen/hatoba/v1/types.js';
import type { ContainerConfig, RestartPolicyName, RestartRule } from '../../runtime/engine.js';
import { containerDns } from '../executor/container-dns.js';
import { logOptions } from '../../common/model/log-options.js';
import { addressesOf, toAnnotations, type Attachment } from './attachment.js';
import type { Wiring } from './container-networks.js';

/** Names a group of containers of this node that was given no other. */
const DEFAULT_GROUP = 'containers';
const RESTART_NAMES: readonly RestartPolicyName[] = [
  'no',
  'always',
  'unless-stopped',
  'on-failure',
];

/** All that a request leaves open. */
export interface CreateContext {
  readonly id: string;
  readonly name: string;
  readonly attachment: Attachment;
  readonly wiring: Wiring;
  /** Of this machine. */
  readonly hostname: string;
  /** Of the container whose network is shared. */
  readonly other?: ContainerConfig;
}

/**
 * The container that a request asks for. A pure function.
 * @throws {HatobaError} invalid-argument
 */
export function toLocalConfig(
  request: ContainerCreateRequest,
  context: CreateContext,
): ContainerConfig {
  const { id, name, attachment, wiring } = context;
  const spec = specOf(request, context);
  const restart =
    request.restartPolicy === undefined ? undefined : restartRule(request.restartPolicy);
  checkAutoRemove(request.autoRemove, restart);
  return {
    id,
    name,
    spec,
    limits: request.limits ?? Limit.fromPartial({}),
    netns: wiring.netns,
    cgroupGroup: groupOf(request.cgroupGroup),
    dns: dnsOf(spec, context),
    hosts: context.other?.hosts ?? ownHosts(spec, attachment),
    log: logOptions(request.log),
    labels: spec.labels,
    ...(restart === undefined ? {} : { restart }),
    ...(request.autoRemove ? { autoRemove: true } : {}),
    annotations: toAnnotations(attachment),
  };
}

/** @throws {HatobaError} invalid-argument when there is none, or it names no image */
export function requireSpec(request: ContainerCreateRequest): ContainerSpec {
  if (request.spec !== undefined && request.spec.image !== '') return request.spec;
  throw new HatobaError('invalid-argument', 'a container needs an image: spec.image is empty');
}

/** @throws {HatobaError} invalid-argument */
export function restartRule({ name: asked, maximumRetryCount }: EngineRestartPolicy): RestartRule {
  const name = RESTART_NAMES.find((n) => n === (asked === '' ? 'no' : asked));
  if (name === undefined) {
    throw new HatobaError(
      'invalid-argument',
      `restart policy "${asked}" is not known: use ${RESTART_NAMES.join(', ')}`,
    );
  }
  if (maximumRetryCount > 0 && name !== 'on-failure') {
    throw new HatobaError(
      'invalid-argument',
      `restart policy "${name}" has no maximum of retries: only on-failure has`,
    );
  }
  return { name, maximumRetryCount };
}

/** @throws {HatobaError} invalid-argument */
export function checkAutoRemove(autoRemove: boolean, restart: RestartRule | undefined): void {
  if (!autoRemove || restart === undefined || restart.name === 'no') return;
  throw new HatobaError(
    'invalid-argument',
    `a container that is removed when it ends cannot be restarted "${restart.name}": leave out --rm or the restart policy`,
  );
}

function specOf(request: ContainerCreateRequest, context: CreateContext): ContainerSpec {
  const spec = requireSpec(request);
  const { attachment, other, id } = context;
  const gateway = gatewayOf(attachment);
  const isOnHost = attachment.mode === 'host';
  const fallback = other?.spec.hostname ?? (isOnHost ? context.hostname : shortId(id));
  // One that shares the machine's name may not have another; the engine gives it that.
  const hostname = spec.utsMode === 'host' || spec.hostname !== '' ? spec.hostname : fallback;
  return {
    ...spec,
    hostname,
    hosts: spec.hosts.map((line) => line.replace(/^host-gateway(?=\s)/, gateway)),
  };
}

/**
 * Who shares another container's network asks whom that one asks, unless told otherwise. On the
 * bridge of the node, servers of the user are asked alone and by the container, as with Docker.
 */
function dnsOf({ dnsConfig }: ContainerSpec, context: CreateContext): ContainerConfig['dns'] {
  const shared = context.other?.dns;
  const asksItself =
    context.attachment.mode === 'bridge' && (dnsConfig?.nameservers.length ?? 0) > 0;
  if (shared === undefined) {
    return containerDns(dnsConfig, asksItself ? [] : context.wiring.nameservers);
  }
  return {
    nameservers: or(dnsConfig?.nameservers, shared.nameservers),
    search: or(dnsConfig?.search, shared.search),
    options: or(dnsConfig?.options, shared.options),
  };
}

function or(own: readonly string[] | undefined, otherwise: readonly string[]): readonly string[] {
  return own === undefined || own.length === 0 ? otherwise : own;
}

/** The container finds itself by name. */
function ownHosts(spec: ContainerSpec, attachment: Attachment): ContainerConfig['hosts'] {
  const { hostname, domainname } = spec;
  const names = domainname === '' ? [hostname] : [`${hostname}.${domainname}`, hostname];
  return addressesOf(attachment).map((address) => ({ address, names }));
}

/** The host, as the container sees it. */
function gatewayOf(attachment: Attachment): string {
  if (attachment.mode === 'bridge') return attachment.gateway;
  const first = attachment.mode === 'cluster' ? attachment.networks[0]?.gateway : undefined;
  return first ?? '127.0.0.1';
}

function groupOf(group: string): string {
  if (group === '') return DEFAULT_GROUP;
  if (/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/.test(group)) return group;
  throw new HatobaError(
    'invalid-argument',
    `"${group}" cannot be a group of containers: it takes letters, digits, "_", "." and "-"`,
  );
}
