import type { Digest } from './digest.js';
import {
  asArray,
  asObject,
  optionalObject,
  optionalString,
  optionalStrings,
  parseJson,
} from './json-fields.js';

/** What an image's configuration says that no container is made from. */
export interface ImageAbout {
  readonly author: string;
  readonly comment: string;
  readonly dockerVersion: string;
  /** Of the processor: "v8" or empty. */
  readonly variant: string;
  /** What the shell form of its Dockerfile's words ran under. */
  readonly shell: readonly string[];
  /** Oldest first. */
  readonly history: readonly HistoryStep[];
}

export interface HistoryStep {
  /** RFC 3339 as the image writes it, unchecked; empty when it does not say. */
  readonly created: string;
  readonly createdBy: string;
  readonly comment: string;
  readonly isEmptyLayer: boolean;
}

/** More than any Dockerfile has steps. */
const MAX_STEPS = 5000;

/** @throws {HatobaError} invalid-argument naming the field */
export function parseImageAbout(bytes: Uint8Array, what: string): ImageAbout {
  const doc = asObject(parseJson(bytes, `configuration of ${what}`), `configuration of ${what}`);
  const text = (name: string): string => optionalString(doc[name], `${what}: ${name}`);
  const config = optionalObject(doc['config'], `${what}: config`);
  const steps = asArray(doc['history'] ?? [], `${what}: history`, MAX_STEPS);
  return {
    author: text('author'),
    comment: text('comment'),
    dockerVersion: text('docker_version'),
    variant: text('variant'),
    shell: optionalStrings(config['Shell'], `${what}: config.Shell`),
    history: steps.map((step, i) => parseStep(step, `${what}: history[${i}]`)),
  };
}

function parseStep(value: unknown, what: string): HistoryStep {
  const step = asObject(value, what);
  return {
    created: optionalString(step['created'], `${what}.created`),
    createdBy: optionalString(step['created_by'], `${what}.created_by`),
    comment: optionalString(step['comment'], `${what}.comment`),
    isEmptyLayer: step['empty_layer'] === true,
  };
}

/** A step with the layer it made, if it made one. */
export interface LayeredStep extends HistoryStep {
  readonly diffId: Digest | undefined;
}

/**
 * Puts each layer beside the step that made it, oldest first. Layers that no step tells of, which
 * some tools write, get a step without words.
 */
export function layeredHistory(
  history: readonly HistoryStep[],
  diffIds: readonly Digest[],
): LayeredStep[] {
  let next = 0;
  const steps = history.map((step) => ({
    ...step,
    diffId: step.isEmptyLayer ? undefined : diffIds[next++],
  }));
  const untold = diffIds.slice(next).map((diffId) => ({
    created: '',
    createdBy: '',
    comment: '',
    isEmptyLayer: false,
    diffId,
  }));
  return [...steps, ...untold];
}
