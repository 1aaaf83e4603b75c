import { HatobaError } from '../../../common/errors.js';
import type { Task } from '../../../common/model/objects.js';
import { PlacementStrategy, type TopologySpread } from '../../../proto/gen/hatoba/v1/types.js';
import { parseAffinity, type NodeAffinity, type ServiceAffinity } from './affinity.js';
import { constraintsOf, type Constraint } from './constraint.js';
import { classOf } from './standing.js';

/** What a class of equal tasks asks of a node; worked out once for all of them. */
export interface PlacementRequest {
  /** Stands for the class: same service, same spec. */
  readonly task: Task;
  /** See classOf; failures are remembered by it too, so a new spec begins with a clean record. */
  readonly taskClass: string;
  /** Equal for classes that the same nodes are eligible for. */
  readonly signature: string;
  /** Affinities to nodes that are conditions are among them. */
  readonly constraints: readonly Constraint[];
  /** Keys of the labels to spread over, outermost first. */
  readonly spreadKeys: readonly string[];
  readonly spreads: readonly TopologySpread[];
  readonly isBinpack: boolean;
  readonly needsOverlay: boolean;
  /** Conditions. */
  readonly towards: readonly ServiceAffinity[];
  readonly away: readonly ServiceAffinity[];
  /** Those with a weight. */
  readonly wishes: readonly (ServiceAffinity | NodeAffinity)[];
  /**
   * The place of a task which others of its place are still there for: they do not stand in its
   * way, as it follows them. Undefined for all other tasks of the class.
   */
  readonly place?: string;
}

export function requestOf(task: Task): PlacementRequest {
  const { placement } = task.spec;
  const affinities = placement.affinities.map(parseAffinity);
  const conditions = affinities.filter((a) => a.weight === 0);
  const constraints = [
    ...constraintsOf(placement),
    ...conditions.filter((a) => a.kind === 'node').map((a) => a.constraint),
  ];
  const ofServices = conditions.filter((a) => a.kind === 'service');
  const needsOverlay = task.networksAttachments.some((a) => a.addresses.length > 0);
  return {
    task,
    taskClass: classOf(task),
    signature: signatureOf(task, constraints, needsOverlay),
    constraints,
    spreadKeys: placement.preferences.map((p) => p.spreadDescriptor).filter((key) => key !== ''),
    spreads: placement.spreads,
    isBinpack: placement.strategy === PlacementStrategy.BINPACK,
    needsOverlay,
    towards: ofServices.filter((a) => a.isToward),
    away: ofServices.filter((a) => !a.isToward),
    wishes: affinities.filter((a) => a.weight > 0),
  };
}

function signatureOf(task: Task, constraints: readonly Constraint[], overlay: boolean): string {
  const { platforms, tolerations } = task.spec.placement;
  if (constraints.length === 0 && platforms.length === 0 && tolerations.length === 0) {
    return overlay ? 'overlay' : '';
  }
  const expressions = constraints.map((c) => c.expression);
  return JSON.stringify([expressions, platforms, tolerations, overlay]);
}

/**
 * Anti-affinities that are conditions: those the task keeps others away by, too. What cannot be
 * read keeps nothing away.
 */
export function repelsOf({ spec }: Task): ServiceAffinity[] {
  return spec.placement.affinities.flatMap((affinity) => {
    if (affinity.weight > 0) return [];
    try {
      const parsed = parseAffinity(affinity);
      return parsed.kind === 'service' && !parsed.isToward ? [parsed] : [];
    } catch (error) {
      if (!(error instanceof HatobaError)) throw error;
      return [];
    }
  });
}
