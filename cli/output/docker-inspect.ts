import {
  ContainerRunState,
  ImageConfig,
  type Container,
  type ImageInspectResponse,
  type Volume,
} from '../../proto/gen/hatoba/v1/engine.js';
import {
  Image,
  Limit,
  type ContainerSpec,
  type HealthConfig,
  type PortConfig,
} from '../../proto/gen/hatoba/v1/types.js';

/**
 * What `docker inspect`, `docker image inspect` and `docker volume inspect` print, field by field, so that scripts written
 * for them go on working.
 */

export function dockerContainer(container: Container): object {
  const { spec } = container;
  const [path = '', ...args] = container.command;
  return {
    Id: container.id,
    Created: time(container.createdAtMs),
    Path: path,
    Args: args,
    State: stateOf(ContainerRunState.fromPartial(container.state ?? { health: 'none' })),
    Image: container.imageId,
    LogPath: container.logPath,
    Name: `/${container.name}`,
    RestartCount: container.restartCount,
    Driver: 'overlay',
    Platform: 'linux',
    ...(container.sizeRwBytes === undefined ? {} : { SizeRw: container.sizeRwBytes }),
    HostConfig: hostConfigOf(container),
    Mounts: container.mounts.map((m) => ({
      Type: m.type,
      ...(m.name === '' ? {} : { Name: m.name }),
      Source: m.source,
      Destination: m.destination,
      RW: m.rw,
      Propagation: m.propagation,
    })),
    Config: spec === undefined ? {} : configOf(spec, container),
    NetworkSettings: networkSettingsOf(container),
    ...(container.taskId === ''
      ? {}
      : { Task: { Id: container.taskId, Name: container.taskName } }),
  };
}

function stateOf(state: ContainerRunState): object {
  const { status, health } = state;
  return {
    Status: status,
    Running: ['running', 'paused', 'restarting'].includes(status),
    Paused: status === 'paused',
    Restarting: status === 'restarting',
    OOMKilled: state.oomKilled,
    Dead: false,
    Pid: state.pid,
    ExitCode: state.exitCode ?? 0,
    Error: state.error,
    StartedAt: time(state.startedAtMs),
    FinishedAt: time(state.finishedAtMs),
    ...(health !== 'none' && { Health: { Status: health, Log: [{ Output: state.healthOutput }] } }),
  };
}

function configOf(spec: ContainerSpec, container: Container): object {
  return {
    Hostname: spec.hostname === '' ? container.id.slice(0, 12) : spec.hostname,
    Domainname: spec.domainname,
    User: spec.user,
    Tty: spec.tty,
    OpenStdin: spec.openStdin,
    Env: spec.env,
    Cmd: spec.args,
    Entrypoint: spec.command.length === 0 ? null : spec.command,
    Image: container.image,
    WorkingDir: spec.dir,
    Labels: container.labels,
    ...(spec.stopSignal === '' ? {} : { StopSignal: spec.stopSignal }),
    ...(spec.stopGracePeriodMs === undefined ? {} : { StopTimeout: spec.stopGracePeriodMs / 1000 }),
    ...(spec.healthcheck === undefined ? {} : { Healthcheck: healthOf(spec.healthcheck) }),
  };
}

function hostConfigOf(container: Container): object {
  const { spec, restartPolicy } = container;
  return {
    NetworkMode: container.networkMode === '' ? 'bridge' : container.networkMode,
    PortBindings: portsOf(container.ports),
    RestartPolicy: {
      Name: restartPolicy?.name === '' ? 'no' : (restartPolicy?.name ?? 'no'),
      MaximumRetryCount: restartPolicy?.maximumRetryCount ?? 0,
    },
    AutoRemove: container.autoRemove,
    CgroupParent: container.cgroupPath.replace(/\/[^/]*$/, ''),
    ...(spec === undefined ? {} : isolationOf(spec)),
    ...limitsOf(container.limits ?? Limit.fromPartial({})),
  };
}

function isolationOf(spec: ContainerSpec): object {
  return {
    CapAdd: spec.capabilityAdd,
    CapDrop: spec.capabilityDrop,
    Privileged: spec.privileged,
    ReadonlyRootfs: spec.readOnly,
    Init: spec.init,
    PidMode: spec.pidMode,
    IpcMode: spec.ipcMode === '' ? 'private' : spec.ipcMode,
    UTSMode: spec.utsMode,
    UsernsMode: spec.usernsMode,
    CgroupnsMode: spec.cgroupnsMode === '' ? 'private' : spec.cgroupnsMode,
    Dns: spec.dnsConfig?.nameservers ?? [],
    DnsOptions: spec.dnsConfig?.options ?? [],
    DnsSearch: spec.dnsConfig?.search ?? [],
    ExtraHosts: spec.hosts,
    GroupAdd: spec.groups,
    OomScoreAdj: spec.oomScoreAdj,
    SecurityOpt: [
      ...(spec.noNewPrivileges ? ['no-new-privileges'] : []),
      ...(spec.seccomp === '' ? [] : [`seccomp=${spec.seccomp}`]),
    ],
    ShmSize: spec.shmSizeBytes === 0 ? 64 * 1024 * 1024 : spec.shmSizeBytes,
    Sysctls: spec.sysctls,
    Ulimits: spec.ulimits.map((u) => ({ Name: u.name, Soft: u.soft, Hard: u.hard })),
    Devices: spec.devices.map((d) => ({
      PathOnHost: d.pathOnHost,
      PathInContainer: d.pathInContainer,
      CgroupPermissions: d.cgroupPermissions,
    })),
    DeviceCgroupRules: spec.deviceCgroupRules,
  };
}

function limitsOf(limits: Limit): object {
  const throttle = (list: Limit['blkioDeviceReadBps']): object[] =>
    list.map((t) => ({ Path: t.path, Rate: t.rate }));
  return {
    NanoCpus: limits.nanoCpus,
    CpuShares: limits.cpuShares,
    CpusetCpus: limits.cpusetCpus,
    CpusetMems: limits.cpusetMems,
    Memory: limits.memoryBytes,
    MemorySwap: limits.memorySwapBytes,
    MemoryReservation: limits.memoryReservationBytes,
    PidsLimit: limits.pids,
    BlkioWeight: limits.blkioWeight,
    BlkioDeviceReadBps: throttle(limits.blkioDeviceReadBps),
    BlkioDeviceWriteBps: throttle(limits.blkioDeviceWriteBps),
    BlkioDeviceReadIOps: throttle(limits.blkioDeviceReadIops),
    BlkioDeviceWriteIOps: throttle(limits.blkioDeviceWriteIops),
  };
}

function networkSettingsOf(container: Container): object {
  const [first] = container.networks;
  return {
    IPAddress: first?.ipAddress ?? '',
    IPPrefixLen: first?.prefixLength ?? 0,
    Gateway: first?.gateway ?? '',
    MacAddress: first?.macAddress ?? '',
    Ports: portsOf(container.ports),
    Networks: Object.fromEntries(
      container.networks.map((n) => [
        n.name,
        {
          ...(n.aliases.length > 0 && { Aliases: n.aliases }),
          NetworkID: n.networkId,
          Gateway: n.gateway,
          IPAddress: n.ipAddress,
          IPPrefixLen: n.prefixLength,
          MacAddress: n.macAddress,
        },
      ]),
    ),
  };
}

function portsOf(ports: readonly PortConfig[]): Record<string, object[]> {
  const byTarget: Record<string, object[]> = {};
  for (const port of ports) {
    const key = `${port.targetPort}/${port.protocol.replace('PORT_PROTOCOL_', '').toLowerCase()}`;
    const binding = {
      HostIp: port.hostIp === '' ? '0.0.0.0' : port.hostIp,
      HostPort: String(port.publishedPort),
    };
    (byTarget[key] ??= []).push(binding);
  }
  return byTarget;
}

export function dockerImage(details: ImageInspectResponse): object {
  const image = Image.fromPartial(details.image ?? {});
  return {
    Id: image.id,
    RepoTags: image.repoTags,
    RepoDigests: image.repoDigests,
    Parent: '',
    Comment: details.comment,
    Created: time(image.createdAtMs),
    DockerVersion: details.dockerVersion,
    Author: details.author,
    Config: imageConfigOf(ImageConfig.fromPartial(details.config ?? {})),
    Architecture: image.architecture,
    ...(details.variant !== '' && { Variant: details.variant }),
    Os: image.os,
    Size: image.sizeBytes,
    GraphDriver: { Name: details.snapshotter, Data: {} },
    RootFS: { Type: 'layers', Layers: details.layers },
  };
}

function imageConfigOf(config: ImageConfig): object {
  return {
    User: config.user,
    ExposedPorts: keys(config.exposedPorts),
    Env: config.env,
    Cmd: orNull(config.cmd),
    Entrypoint: orNull(config.entrypoint),
    Volumes: keys(config.volumes),
    WorkingDir: config.workingDir,
    Labels: config.labels,
    ...(config.stopSignal !== '' && { StopSignal: config.stopSignal }),
    ...(config.shell.length > 0 && { Shell: config.shell }),
    ...(config.healthcheck !== undefined && { Healthcheck: healthOf(config.healthcheck) }),
  };
}

/** With the fields of `docker volume inspect`, and who has it. */
export function dockerVolume(volume: Volume): object {
  const { labels, driverOpts, sizeBytes } = volume;
  return {
    CreatedAt: time(volume.createdAtMs),
    Driver: volume.driver,
    Labels: Object.keys(labels).length > 0 ? labels : null,
    Mountpoint: volume.mountpoint,
    Name: volume.name,
    Options: Object.keys(driverOpts).length > 0 ? driverOpts : null,
    Scope: 'local',
    Anonymous: volume.anonymous,
    UsedBy: volume.usedBy,
    ...(sizeBytes !== undefined && {
      UsageData: { Size: sizeBytes, RefCount: volume.usedBy.length },
    }),
  };
}

const NANOSECONDS = 1e6;

/** Docker counts in nanoseconds. */
function healthOf(check: HealthConfig): object {
  return {
    Test: check.test,
    Interval: check.intervalMs * NANOSECONDS,
    Timeout: check.timeoutMs * NANOSECONDS,
    StartPeriod: check.startPeriodMs * NANOSECONDS,
    StartInterval: check.startIntervalMs * NANOSECONDS,
    Retries: check.retries,
  };
}

function keys(names: readonly string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

function orNull(words: readonly string[]): readonly string[] | null {
  return words.length === 0 ? null : words;
}

/** Docker's "never" is Go's zero time. */
function time(ms: number): string {
  return ms === 0 ? '0001-01-01T00:00:00Z' : new Date(ms).toISOString();
}
