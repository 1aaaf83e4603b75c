import type { ContainerSpec } from '../../../proto/gen/hatoba/v1/types.js';
import type { Problems } from './problem.js';

/** What a task may share; never the namespace of another container, which may run anywhere. */
const MODES = {
  pidMode: ['private', 'host'],
  ipcMode: ['private', 'shareable', 'host', 'none'],
  utsMode: ['private', 'host'],
  usernsMode: ['host', 'remap'],
  cgroupnsMode: ['private', 'host'],
} as const;
const MODE_FIELDS = ['pidMode', 'ipcMode', 'utsMode', 'usernsMode', 'cgroupnsMode'] as const;

const MAX_OOM_SCORE = 1000;
const DEVICE_RULE = /^[abc] (\d+|\*):(\d+|\*) [rwm]{1,3}$/;

/** What a container may do, and what it shares with the machine. */
export function checkIsolation(spec: ContainerSpec, problems: Problems): void {
  for (const field of MODE_FIELDS) {
    const known: readonly string[] = MODES[field];
    const isKnown = spec[field] === '' || known.includes(spec[field]);
    problems.at(field).require(isKnown, `"${spec[field]}" is none of ${known.join(', ')}`);
  }
  checkContradictions(spec, problems);
  problems
    .at('oomScoreAdj')
    .require(
      Math.abs(spec.oomScoreAdj) <= MAX_OOM_SCORE,
      `${spec.oomScoreAdj} is not between -${MAX_OOM_SCORE} and ${MAX_OOM_SCORE}`,
    );
  spec.deviceCgroupRules.forEach((rule, i) => {
    const at = problems.at(`deviceCgroupRules[${i}]`);
    at.require(DEVICE_RULE.test(rule), `"${rule}" is not a rule like "c 1:3 rwm"`);
  });
}

function checkContradictions(spec: ContainerSpec, problems: Problems): void {
  const isNamed = spec.hostname !== '' || spec.domainname !== '';
  problems
    .at('utsMode')
    .require(
      spec.utsMode !== 'host' || !isNamed,
      'a container with the name of its machine cannot have a hostname or domainname',
    );
  if (spec.usernsMode !== 'remap') return;
  const users = problems.at('usernsMode');
  users.require(!spec.privileged, 'a privileged container cannot have users of its own');
  users.require(
    spec.pidMode !== 'host',
    "a container with users of its own cannot be on the host's pid namespace",
  );
}
