import { ImageConfig, type ImageHistoryEntry } from '../../proto/gen/hatoba/v1/engine.js';
import type { ContentStore } from '../content/content-store.js';
import type { LayerStore } from '../content/layer-store.js';
import { layeredHistory, parseImageAbout, type ImageAbout } from '../core/image-about.js';
import { MAX_MANIFEST_BYTES } from '../core/manifest.js';
import type { ImageDetails } from '../engine.js';
import { timeOf, toImage, type KnownImage } from './image-record.js';

/** What Docker writes where an image of that step is not known. */
const MISSING = '<missing>';

/** @param references keys of those that name it */
export async function describeImage(
  known: KnownImage,
  references: readonly string[],
  modules: { content: ContentStore; snapshotter: string },
): Promise<ImageDetails> {
  const about = await readAbout(known, modules.content);
  const { author, comment, dockerVersion, variant } = about;
  return {
    image: toImage(known, references),
    author,
    comment,
    dockerVersion,
    variant,
    config: toConfig(known, about),
    layers: [...known.blob.diffIds],
    snapshotter: modules.snapshotter,
  };
}

/** Newest first. */
export async function describeHistory(
  known: KnownImage,
  references: readonly string[],
  modules: { content: ContentStore; layers: LayerStore },
): Promise<ImageHistoryEntry[]> {
  const { history } = await readAbout(known, modules.content);
  const steps = layeredHistory(history, known.blob.diffIds).toReversed();
  const tags = toImage(known, references).repoTags;
  return steps.map((step, i) => ({
    id: i === 0 ? known.record.id : MISSING,
    createdAtMs: timeOf(step.created),
    createdBy: step.createdBy,
    comment: step.comment,
    sizeBytes: step.diffId === undefined ? 0 : modules.layers.sizeBytes(step.diffId),
    tags: i === 0 ? tags : [],
  }));
}

async function readAbout({ record }: KnownImage, content: ContentStore): Promise<ImageAbout> {
  const bytes = await content.read(record.id, MAX_MANIFEST_BYTES);
  return parseImageAbout(bytes, `image ${record.id}`);
}

function toConfig({ blob }: KnownImage, { shell }: ImageAbout): ImageConfig {
  const { config } = blob;
  return ImageConfig.fromPartial({
    user: config.user,
    env: [...config.env],
    entrypoint: [...config.entrypoint],
    cmd: [...config.cmd],
    workingDir: config.workingDir,
    labels: { ...config.labels },
    exposedPorts: [...config.exposedPorts],
    volumes: [...config.volumes],
    stopSignal: config.stopSignal,
    healthcheck: config.healthcheck,
    shell: [...shell],
  });
}
