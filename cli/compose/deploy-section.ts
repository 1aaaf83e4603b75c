import type {
  ContainerSpec,
  GenericResource,
  RestartPolicy,
  UpdateConfig,
} from '../../proto/gen/hatoba/v1/types.js';
import {
  EndpointMode,
  Limit,
  Resources,
  RestartCondition,
  SessionAffinity,
  UpdateFailureAction,
  UpdateOrder,
} from '../../proto/gen/hatoba/v1/types.js';
import type { ServiceSpec } from '../../common/model/objects.js';
import { readResources } from './limits-section.js';
import { readMode, type ModeKeys } from './mode-keys.js';
import { readGenericResources, readPlacement, type PlacementScope } from './placement-section.js';
import type { Value } from './reader.js';

const ORDERS = {
  'stop-first': UpdateOrder.STOP_FIRST,
  'start-first': UpdateOrder.START_FIRST,
} as const;
const FAILURE_ACTIONS = {
  pause: UpdateFailureAction.PAUSE,
  continue: UpdateFailureAction.CONTINUE,
  rollback: UpdateFailureAction.ROLLBACK,
} as const;
const CONDITIONS = {
  any: RestartCondition.ANY,
  none: RestartCondition.NONE,
  'on-failure': RestartCondition.ON_FAILURE,
} as const;

const MOST_PRIORITY = 1000;

/** Reads `deploy:` of a service into `spec`. */
export function readDeploy(value: Value, spec: ServiceSpec, scope: PlacementScope): void {
  const task = spec.taskTemplate;
  const mode: ModeKeys = { updates: [] };
  value.fields({
    mode: (v) => (mode.mode = v),
    replicas: (v) => (mode.replicas = v),
    max_concurrent: (v) => (mode.maxConcurrent = v),
    labels: (v) => Object.assign(spec.labels, definedOf(v)),
    endpoint_mode: (v) => {
      const mode = v.oneOf(['vip', 'dnsrr']);
      if (mode === 'dnsrr') spec.endpointSpec.mode = EndpointMode.DNSRR;
    },
    session_affinity: (v) => {
      const affinity = v.oneOf(['none', 'client_ip']);
      if (affinity === 'client_ip') spec.endpointSpec.sessionAffinity = SessionAffinity.CLIENT_IP;
    },
    drain: (v) => (spec.endpointSpec.drainMs = v.durationMs()),
    update_config: (v) => {
      mode.updates.push(v);
      readUpdateConfig(v, spec.updateConfig, true);
    },
    rollback_config: (v) => {
      mode.updates.push(v);
      readUpdateConfig(v, spec.rollbackConfig, false);
    },
    restart_policy: (v) => {
      readRestartPolicy(v, task.restartPolicy);
    },
    resources: (v) => {
      readAllResources(v, spec);
    },
    placement: (v) => {
      readPlacement(v, task.placement, scope);
    },
    priority: (v) => (task.priority = v.integer(-MOST_PRIORITY, MOST_PRIORITY) ?? 0),
    rebalance: (v) => (spec.rebalance = v.boolean() ?? false),
    revision_limit: (v) => (spec.revisionLimit = v.integer()),
  });
  readMode(mode, spec);
}

function readRestartPolicy(value: Value, policy: RestartPolicy): void {
  value.fields({
    condition: (v) => {
      const word = v.oneOf(['any', 'none', 'on-failure']);
      if (word !== undefined) policy.condition = CONDITIONS[word];
    },
    delay: (v) => (policy.delayMs = v.durationMs()),
    max_delay: (v) => (policy.maxDelayMs = v.durationMs()),
    max_attempts: (v) => (policy.maxAttempts = v.integer() ?? 0),
    window: (v) => (policy.windowMs = v.durationMs() ?? 0),
  });
}

function readAllResources(value: Value, { taskTemplate: { resources } }: ServiceSpec): void {
  value.fields({
    limits: (v) => {
      readResources(v, resources.limits);
    },
    reservations: (v) => {
      const reserved = Limit.fromPartial({});
      const generic: GenericResource[] = [];
      readResources(v, reserved, {
        generic_resources: (g) => generic.push(...readGenericResources(g)),
      });
      resources.reservations = Resources.fromPartial({ ...reserved, generic });
    },
  });
}

function readUpdateConfig(value: Value, config: UpdateConfig, mayRollBack: boolean): void {
  value.fields({
    parallelism: (v) => (config.parallelism = v.integer() ?? config.parallelism),
    delay: (v) => (config.delayMs = v.durationMs() ?? 0),
    progress_deadline: (v) => (config.progressDeadlineMs = v.durationMs()),
    monitor: (v) => (config.monitorMs = v.durationMs() ?? config.monitorMs),
    max_failure_ratio: (v) => (config.maxFailureRatio = v.number(0, 1) ?? 0),
    order: (v) => {
      const word = v.oneOf(['stop-first', 'start-first']);
      if (word !== undefined) config.order = ORDERS[word];
    },
    failure_action: (v) => {
      const word = v.oneOf(mayRollBack ? ['pause', 'continue', 'rollback'] : ['pause', 'continue']);
      if (word !== undefined) config.failureAction = FAILURE_ACTIONS[word];
    },
  });
}

/** A dictionary whose keys must all have values. */
export function definedOf(value: Value): Record<string, string> {
  const result: Record<string, string> = {};
  for (const [key, text] of value.dictionary()) result[key] = text ?? '';
  return result;
}

/** Reads `healthcheck:` of a service. */
export function readHealthcheck(value: Value, container: ContainerSpec): void {
  const health = {
    test: [] as string[],
    intervalMs: 0,
    timeoutMs: 0,
    startPeriodMs: 0,
    startIntervalMs: 0,
    retries: 0,
  };
  value.fields({
    test: (v) => (health.test = readHealthTest(v)),
    interval: (v) => (health.intervalMs = v.durationMs() ?? 0),
    timeout: (v) => (health.timeoutMs = v.durationMs() ?? 0),
    start_period: (v) => (health.startPeriodMs = v.durationMs() ?? 0),
    start_interval: (v) => (health.startIntervalMs = v.durationMs() ?? 0),
    retries: (v) => (health.retries = v.integer() ?? 0),
    disable: (v) => {
      if (v.boolean() === true) health.test = ['NONE'];
    },
  });
  container.healthcheck = health;
}

function readHealthTest(value: Value): string[] {
  if (!value.isList) return ['CMD-SHELL', ...value.stringOrStrings()];
  const test = value.strings();
  if (!['NONE', 'CMD', 'CMD-SHELL'].includes(test[0] ?? '')) {
    value.problem('a list must begin with "CMD", "CMD-SHELL" or "NONE"');
  }
  return test;
}
