import type { ContainerSpec, UpdateConfig } from '../../proto/gen/hatoba/v1/types.js';
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

/** Reads `deploy:` of a service into `spec`. */
export function readDeploy(value: Value, spec: ServiceSpec): void {
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
      const policy = task.restartPolicy;
      v.fields({
        condition: (c) => {
          const word = c.oneOf(['any', 'none', 'on-failure']);
          if (word !== undefined) policy.condition = CONDITIONS[word];
        },
        delay: (d) => (policy.delayMs = d.durationMs()),
        max_attempts: (m) => (policy.maxAttempts = m.integer() ?? 0),
        window: (w) => (policy.windowMs = w.durationMs() ?? 0),
      });
    },
    resources: (v) =>
      v.fields({
        limits: (l) => readResources(l, task.resources.limits),
        reservations: (r) => {
          const reserved = Limit.fromPartial({});
          readResources(r, reserved);
          task.resources.reservations = Resources.fromPartial(reserved);
        },
      }),
    placement: (v) =>
      v.fields({
        constraints: (c) => (task.placement.constraints = c.strings()),
        max_replicas_per_node: (m) => (task.placement.maxReplicas = m.integer() ?? 0),
        preferences: (p) => {
          for (const item of p.items()) {
            item.fields({
              spread: (s) =>
                task.placement.preferences.push({ spreadDescriptor: s.string() ?? '' }),
            });
          }
        },
      }),
  });
  readMode(mode, spec);
}

function readUpdateConfig(value: Value, config: UpdateConfig, mayRollBack: boolean): void {
  value.fields({
    parallelism: (v) => (config.parallelism = v.integer() ?? config.parallelism),
    delay: (v) => (config.delayMs = v.durationMs() ?? 0),
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
