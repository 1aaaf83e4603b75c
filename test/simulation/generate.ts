import type { Random } from '../../common/random.js';
import * as pb from '../../proto/gen/hatoba/v1/types.js';
import { seededRandom } from '../support/seeded-random.js';
import { hostNames, type Action, type Fault, type Script, type Step } from './scenario.js';
import { BAD_IMAGES, GOOD_IMAGES } from './world/images.js';

const SERVICES = ['web', 'db'];
const STACKS = ['shop'];
/** From the first step to the last. */
const SPAN_MS = 20_000;

/** The script of a seed: who asks for what, what goes wrong, and when. */
export function scriptOf(seed: number): Script {
  const dice = new Dice(seededRandom(seed));
  const cluster = {
    managers: dice.pick([1, 2, 2, 3]),
    workers: dice.pick([0, 1, 2]),
    subnetSize: dice.pick([24, 28, 29]),
  };
  const names = hostNames(cluster);
  const steps: Step[] = [];
  const at = (): number => Math.round(dice.upTo(SPAN_MS));
  for (const service of SERVICES.slice(0, dice.from(1, 2))) {
    steps.push({ atMs: 2500 + dice.from(0, 500), do: 'create', service, spec: serviceSpec(dice) });
  }
  for (let left = dice.from(2, 7); left > 0; left--) {
    steps.push({ atMs: 3000 + at(), ...action(dice, names) });
  }
  for (let left = dice.pick([0, 1, 2, 3, 4, 6, 12]); left > 0; left--) {
    steps.push({ atMs: 1000 + at(), ...fault(dice, names) });
  }
  steps.sort((a, b) => a.atMs - b.atMs);
  return { seed, ...cluster, steps, quietAtMs: 1000 + Math.max(...steps.map((s) => s.atMs)) };
}

function action(dice: Dice, names: readonly string[]): Action {
  const service = dice.pick(SERVICES);
  const node = dice.pick(names);
  return dice.weighted<Action>([
    [3, () => ({ do: 'update', service, spec: serviceSpec(dice) })],
    [3, () => ({ do: 'update', service, spec: { taskTemplate: taskTemplate(dice) } })],
    [3, () => ({ do: 'scale', service, replicas: dice.from(0, 6) })],
    [2, () => ({ do: 'create', service, spec: serviceSpec(dice) })],
    [1, () => ({ do: 'remove', service })],
    [1, () => ({ do: 'rollback', service })],
    [1, () => ({ do: 'pause', service })],
    [1, () => ({ do: 'resume', service })],
    [1, () => ({ do: 'restart', service })],
    [2, () => ({ do: 'drain', node })],
    [2, () => ({ do: 'activate', node })],
    [1, () => ({ do: 'pause-node', node })],
    [2, () => ({ do: 'label', node, label: 'zone', value: dice.pick(['a', 'b']) })],
    [2, () => ({ do: 'taint', node, ...taint(dice) })],
    [1, () => ({ do: 'deploy', stack: dice.pick(STACKS), spec: stackSpec(dice) })],
    [1, () => ({ do: 'remove-stack', stack: dice.pick(STACKS) })],
  ]);
}

function fault(dice: Dice, names: readonly string[]): Fault {
  const host = dice.pick(names);
  const manager = dice.pick(names.filter((n) => n.startsWith('m')));
  const forMs = dice.pick([100, 700, 2000, 3500, 6000]);
  return dice.weighted<Fault>([
    [4, () => ({ do: 'crash-manager', host: manager, forMs })],
    [4, () => ({ do: 'pause-manager', host: manager, forMs })],
    [2, () => ({ do: 'restart-agent', host, forMs, isOrderly: dice.chance(0.5) })],
    [3, () => ({ do: 'power-off', host, forMs })],
    [host.startsWith('w') ? 2 : 0, () => ({ do: 'die', host })],
    [3, () => ({ do: 'isolate', host, forMs })],
    [3, () => ({ do: 'cut', from: host, to: manager, forMs })],
    [3, () => ({ do: 'cut', from: manager, to: host, forMs })],
    [3, () => ({ do: 'cut-store', host: manager, forMs })],
    [2, () => ({ do: 'lose-watches', host: manager })],
    [1, () => ({ do: 'repeat-events', host: manager })],
    [1, () => ({ do: 'compact' })],
    [3, () => ({ do: 'lose-commit', isMade: dice.chance(0.5) })],
    [2, () => ({ do: 'depose' })],
    [1, () => ({ do: 'break-engine', host, forMs })],
    [2, () => ({ do: 'kill-container', host, nth: dice.from(0, 5), code: dice.pick([0, 1, 137]) })],
    [1, () => ({ do: 'lossy-network', rate: 0.3, forMs })],
  ]);
}

function serviceSpec(dice: Dice): pb.DeepPartial<pb.ServiceSpec> {
  const ofMode = mode(dice);
  const isJob = ofMode.$case === 'replicatedJob' || ofMode.$case === 'globalJob';
  const spec = { mode: ofMode, taskTemplate: taskTemplate(dice, isJob) };
  if (isJob) return spec;
  return {
    ...spec,
    rebalance: ofMode.$case === 'replicated' && dice.chance(0.25),
    updateConfig: updateConfig(dice, true),
    rollbackConfig: updateConfig(dice, false),
    endpointSpec: endpointSpec(dice),
  };
}

function mode(dice: Dice): NonNullable<pb.ServiceSpec['mode']> {
  const [maxConcurrent, totalCompletions] = [dice.from(0, 3), dice.from(1, 4)];
  return dice.weighted<NonNullable<pb.ServiceSpec['mode']>>([
    [7, () => ({ $case: 'replicated', value: { replicas: dice.from(0, 5) } })],
    [2, () => ({ $case: 'global', value: {} })],
    [1, () => ({ $case: 'replicatedJob', value: { maxConcurrent, totalCompletions } })],
    [1, () => ({ $case: 'globalJob', value: {} })],
  ]);
}

function taint(dice: Dice): { effect?: pb.TaintEffect } {
  const { NO_SCHEDULE, NO_EXECUTE, PREFER_NO_SCHEDULE } = pb.TaintEffect;
  return dice.weighted<{ effect?: pb.TaintEffect }>([
    [2, () => ({})],
    [1, () => ({ effect: dice.pick([NO_SCHEDULE, NO_EXECUTE, PREFER_NO_SCHEDULE]) })],
  ]);
}

/** What most services do without. */
function placement(dice: Dice): pb.DeepPartial<pb.Placement> {
  const { SPREAD, BINPACK } = pb.PlacementStrategy;
  return {
    constraints: dice.chance(0.2) ? [`node.labels.zone${dice.pick(['==', '!='])}a`] : [],
    maxReplicas: dice.chance(0.2) ? dice.from(1, 2) : 0,
    spreads: dice.chance(0.15)
      ? [{ key: 'node.labels.zone', maxSkew: dice.from(1, 2), required: dice.chance(0.5) }]
      : [],
    affinities: dice.chance(0.15)
      ? [{ expression: `service${dice.pick(['==', '!='])}db`, weight: dice.pick([0, 50]) }]
      : [],
    tolerations: dice.chance(0.2)
      ? [{ key: 'special', ...(dice.chance(0.5) ? { tolerationMs: 3000 } : {}) }]
      : [],
    strategy: dice.chance(0.2) ? BINPACK : SPREAD,
  };
}

function taskTemplate(dice: Dice, isJob = false): pb.DeepPartial<pb.TaskSpec> {
  const { ANY, ON_FAILURE, NONE } = pb.RestartCondition;
  const usual = dice.chance(0.75) ? dice.pick(GOOD_IMAGES) : dice.pick(BAD_IMAGES);
  const image = isJob && dice.chance(0.7) ? 'done' : usual;
  const cpus = dice.chance(0.4) ? dice.pick([0.5e9, 1e9, 2e9, 3e9]) : 0;
  return {
    containerSpec: { image: `${image}:${dice.from(1, 9)}` },
    resources: { reservations: { nanoCpus: cpus } },
    networks: dice.chance(0.5) ? [{ target: 'back' }] : [],
    placement: placement(dice),
    priority: dice.chance(0.2) ? dice.pick([-10, 10]) : 0,
    restartPolicy: {
      condition: dice.pick(isJob ? [ON_FAILURE, NONE] : [ANY, ANY, ON_FAILURE, NONE]),
      delayMs: dice.pick([0, 200, 1000]),
      maxAttempts: dice.pick([0, 0, 2]),
    },
  };
}

function updateConfig(dice: Dice, mayRollBack: boolean): pb.DeepPartial<pb.UpdateConfig> {
  const actions = [pb.UpdateFailureAction.PAUSE, pb.UpdateFailureAction.CONTINUE];
  return {
    parallelism: dice.pick([0, 1, 1, 2]),
    delayMs: dice.pick([0, 0, 500]),
    monitorMs: dice.pick([300, 1500]),
    maxFailureRatio: dice.pick([0, 0, 0.5]),
    failureAction: dice.pick(mayRollBack ? [...actions, pb.UpdateFailureAction.ROLLBACK] : actions),
    order: dice.pick([pb.UpdateOrder.STOP_FIRST, pb.UpdateOrder.START_FIRST]),
    progressDeadlineMs: 8000,
  };
}

function endpointSpec(dice: Dice): pb.DeepPartial<pb.EndpointSpec> {
  const { INGRESS, HOST } = pb.PublishMode;
  const ports = dice.weighted<pb.DeepPartial<pb.PortConfig>[]>([
    [5, () => []],
    [2, () => [{ targetPort: 80, publishMode: INGRESS }]],
    [1, () => [{ targetPort: 80, publishedPort: 8080, publishMode: INGRESS }]],
    [2, () => [{ targetPort: 80, publishedPort: 9000, publishMode: HOST }]],
  ]);
  return { ports, drainMs: dice.pick([0, 1000]) };
}

function stackSpec(dice: Dice): pb.DeepPartial<pb.StackSpec> {
  const services = ['front', 'end'].slice(0, dice.from(1, 2)).map((name) => ({
    ...serviceSpec(dice),
    name: `shop_${name}`,
  }));
  return { services };
}

/** Draws by a seed. */
class Dice {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  upTo(limit: number): number {
    return this.#random.next() * limit;
  }

  /** A whole number, both ends possible. */
  from(least: number, most: number): number {
    return least + Math.floor(this.upTo(most - least + 1));
  }

  chance(share: number): boolean {
    return this.#random.next() < share;
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.upTo(items.length))];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  weighted<T>(choices: readonly (readonly [number, () => T])[]): T {
    let at = this.upTo(choices.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, make] of choices) {
      at -= weight;
      if (at < 0) return make();
    }
    throw new Error('nothing to choose from');
  }
}
