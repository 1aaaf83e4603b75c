/**
 * The words people see for the enums of the model: "TASK_STATE_RUNNING" → "running",
 * "UPDATE_ORDER_START_FIRST" → "start-first", "UPDATE_STATE_ROLLBACK_STARTED" → "rollback_started".
 */
const PREFIXES = [
  'TASK_STATE_',
  'NODE_STATE_',
  'NODE_ROLE_',
  'NODE_AVAILABILITY_',
  'UPDATE_FAILURE_ACTION_',
  'UPDATE_ORDER_',
  'UPDATE_STATE_',
  'ENDPOINT_MODE_',
  'SESSION_AFFINITY_',
  'PORT_PROTOCOL_',
  'PUBLISH_MODE_',
  'MOUNT_TYPE_',
  'RESTART_CONDITION_',
  'LOG_STREAM_',
  'STACK_CHANGE_ACTION_',
  'EVENT_TYPE_',
  'TAINT_EFFECT_',
] as const;

export function toWord(value: string): string {
  const prefix = PREFIXES.find((p) => value.startsWith(p));
  if (prefix === undefined) return value.toLowerCase();
  const word = value.slice(prefix.length).toLowerCase();
  return prefix === 'UPDATE_STATE_' ? word : word.replaceAll('_', '-');
}
