import { newId } from '../../../common/model/ids.js';
import { checkStackSpec } from '../../../proto/wire/check.js';
import { planRemoveStack, planStack, type StackPlan } from '../../core/stack/plan-stack.js';
import { writePlan } from '../write-plan.js';
import { present, refuseProblems, type ControlMethods, type ControlModules } from './methods.js';
import { accepted } from './services.js';

export function stackMethods(
  modules: ControlModules,
): ControlMethods<'deployStack' | 'listStacks' | 'getStack' | 'removeStack'> {
  const { cluster, random } = modules;
  const { view } = cluster;
  return {
    deployStack: async (request, { signal }) => {
      const spec = checkStackSpec(present(request.spec, 'spec'));
      const decide = (): StackPlan =>
        planStack(view, spec, {
          prune: request.prune,
          nowMs: cluster.clock.nowMs(),
          newId: () => newId(random),
        });
      let outcome = decide();
      refuseProblems(outcome.problems);
      if (request.planOnly) return { stack: outcome.stack, changes: outcome.changes };
      let changes: StackPlan['changes'] | undefined;
      await writePlan(
        cluster,
        () => {
          outcome = decide();
          // What a repeated attempt still has to do is not all that this call has done.
          changes ??= outcome.changes;
          return accepted(outcome);
        },
        signal,
      );
      const stack = view.findByName('stack', spec.name) ?? outcome.stack;
      return { stack, changes: changes ?? [] };
    },

    listStacks: () =>
      Promise.resolve({
        stacks: [...view.stacks()].sort((a, b) => (a.spec.name < b.spec.name ? -1 : 1)),
      }),

    getStack: (request) => Promise.resolve(view.findByPrefix('stack', request.stack)),

    removeStack: async (request, { signal }) => {
      const { id } = view.findByPrefix('stack', request.stack);
      await writePlan(
        cluster,
        () => (view.stack(id) === undefined ? undefined : accepted(planRemoveStack(view, id))),
        signal,
      );
      return {};
    },
  };
}
