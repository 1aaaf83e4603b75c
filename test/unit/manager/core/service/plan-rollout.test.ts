import assert from 'node:assert/strict';
import type { Service } from '../../../../../common/model/objects.js';
import {
  planPauseRollout,
  planRestartService,
  planResumeRollout,
} from '../../../../../manager/core/service/plan-rollout.js';
import type { ServicePlan } from '../../../../../manager/core/service/plan-service-update.js';
import { withDefaults } from '../../../../../manager/core/validate/service-spec.js';
import { UpdateState, type UpdateStatus } from '../../../../../proto/gen/hatoba/v1/types.js';
import { aService, aTask, snapshotOf, T0 } from '../../../../support/builders.js';

const context = { nowMs: T0 + 9000, newId: (): string => 'new-id' };

function status(state: UpdateState): UpdateStatus {
  const times = { startedAtMs: T0, completedAtMs: 0, resumedAtMs: 0 };
  return { state, ...times, message: 'as it was' };
}

/** Service web, version 7, whose last update is in that state. */
function web(state?: UpdateState): Service {
  const { spec } = aService();
  const updateStatus = state === undefined ? undefined : status(state);
  return aService({ version: 7, spec: withDefaults(spec), updateStatus });
}

type Call = (service: Service, version?: number) => ServicePlan;
const request = (version = 0): { serviceId: string; version: number } => ({
  serviceId: 'id-web',
  version,
});
const pause: Call = (service, version) =>
  planPauseRollout(snapshotOf({ services: [service] }), request(version));
const resume: Call = (service, version) =>
  planResumeRollout(snapshotOf({ services: [service] }), request(version), context);

describe('a rollout', () => {
  const { UPDATING, PAUSED, ROLLBACK_STARTED, ROLLBACK_PAUSED } = UpdateState;
  const { UNKNOWN, COMPLETED, ROLLBACK_COMPLETED } = UpdateState;
  for (const [from, to] of [
    [UPDATING, PAUSED],
    [ROLLBACK_STARTED, ROLLBACK_PAUSED],
  ] as const) {
    it(`is paused and goes on: ${from}`, () => {
      const paused = pause(web(from), 7).service;
      assert.deepEqual(paused.updateStatus, { ...status(to), message: 'paused by request' });
      assert.equal(paused.specVersion, 1);
      const resumed = resume(web(to), 7).service.updateStatus;
      assert.equal(resumed?.state, from);
      assert.equal(resumed.resumedAtMs, T0 + 9000);
      assert.equal(resumed.startedAtMs, T0);
    });
  }

  const refusals: readonly [string, Call, UpdateState | undefined, RegExp][] = [
    ['pause', pause, undefined, /^service web has no update under way$/],
    ['pause', pause, UNKNOWN, /has no update under way$/],
    ['pause', pause, COMPLETED, /no update under way \(the last one is completed\)/],
    ['resume', resume, ROLLBACK_COMPLETED, /\(the last one is rollback completed\)/],
    ['pause', pause, PAUSED, /paused already: as it was/],
    ['pause', pause, ROLLBACK_PAUSED, /paused already/],
    ['resume', resume, UPDATING, /not paused: as it was/],
    ['resume', resume, ROLLBACK_STARTED, /not paused/],
  ];
  for (const [verb, call, state, message] of refusals) {
    it(`cannot ${verb} when it is ${state ?? 'not there'}`, () => {
      assert.throws(() => call(web(state)), { kind: 'failed-precondition', message });
    });
  }

  it('is left alone when the service was changed meanwhile, or is not there', () => {
    for (const call of [pause, resume]) {
      assert.throws(() => call(web(UPDATING), 6), { kind: 'conflict' });
      assert.throws(() => call(aService({ id: 'other' })), { kind: 'not-found' });
    }
  });

  it('replaces all tasks by equal ones when they are to be restarted', () => {
    const service = web(PAUSED);
    const tasks = [{ ...aTask({ nodeId: 'n1' }), spec: service.spec.taskTemplate }];
    const snapshot = snapshotOf({ services: [service], tasks });
    const { service: restarted, plan } = planRestartService(snapshot, request(7), context);
    assert.equal(restarted.spec.taskTemplate.forceUpdate, 1);
    assert.equal(restarted.updateStatus?.state, UPDATING);
    const revision = plan.groups[0]?.[1]?.object;
    assert.ok(revision !== undefined && 'cause' in revision);
    assert.equal(revision.cause, 'restart requested');
  });
});
