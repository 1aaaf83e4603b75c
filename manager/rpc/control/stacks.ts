import { newId } from '../../../common/model/ids.js';
import type { StackChange } from '../../../proto/gen/hatoba/v1/control.js';
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
      const ids = new Map<string, string>();
      const networkId = (name: string): string => {
        const id = ids.get(name) ?? newId(random);
        ids.set(name, id);
        return id;
      };
      const decide = (): StackPlan =>
        planStack(view, spec, {
          ...{ prune: request.prune, networkId },
          nowMs: cluster.clock.nowMs(),
          newId: () => newId(random),
        });
      let outcome = decide();
      refuseProblems(outcome.problems);
      if (request.planOnly) return { stack: outcome.stack, changes: outcome.changes };
      const done = new ChangesOfAllAttempts();
      await writePlan(
        cluster,
        () => {
          outcome = decide();
          done.add(outcome.changes);
          return accepted(outcome);
        },
        signal,
      );
      const stack = view.findByName('stack', spec.name) ?? outcome.stack;
      return { stack, changes: done.list() };
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

/**
 * What one call has changed over all its attempts. A later attempt finds done what an earlier one
 * wrote, and finds another object under a name whose former holder was removed in between.
 */
class ChangesOfAllAttempts {
  readonly #byPart = new Map<string, StackChange>();

  add(changes: readonly StackChange[]): void {
    for (const change of changes) {
      const part = `${change.kind} ${change.name}`;
      const isDone = change.action === 'STACK_CHANGE_ACTION_NONE';
      if (!isDone || this.#byPart.get(part)?.id !== change.id) this.#byPart.set(part, change);
    }
  }

  list(): StackChange[] {
    return [...this.#byPart.values()];
  }
}
