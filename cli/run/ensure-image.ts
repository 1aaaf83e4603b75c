import { isKind } from '../../common/errors.js';
import type { ImageInspectResponse } from '../../proto/gen/hatoba/v1/engine.js';
import { readStream, unary } from '../../proto/wire/client.js';
import { credentialsFor } from '../credentials.js';
import type { EngineSession } from '../engine-session.js';
import { note } from '../output/print.js';
import { TransferLines } from '../output/transfer-lines.js';

/** When an image is pulled although a command only wants to use it. */
export interface PullRule {
  pull: 'always' | 'missing' | 'never';
  platform?: string;
}

/**
 * The image on this node, pulled if the rule says so.
 * @throws {HatobaError} not-found when it is not here and is not to be pulled
 */
export async function ensureImage(
  session: EngineSession,
  image: string,
  rule: PullRule,
): Promise<ImageInspectResponse> {
  if (rule.pull !== 'always') {
    try {
      return await inspect(session, image);
    } catch (error) {
      if (!isKind(error, 'not-found') || rule.pull === 'never') throw error;
      note(`image ${image} is not on this node: pulling it`);
    }
  }
  const id = await pull(session, image, rule.platform ?? '');
  return await inspect(session, rule.platform === undefined ? image : id);
}

async function inspect(
  { engine, signal }: EngineSession,
  image: string,
): Promise<ImageInspectResponse> {
  return await unary(engine.imageInspect.bind(engine), { image }, { signal });
}

/** @returns the image's id */
async function pull(session: EngineSession, reference: string, platform: string): Promise<string> {
  const { config, engine, signal } = session;
  const auth = await credentialsFor(config, reference);
  const lines = new TransferLines();
  let id = reference;
  for await (const p of readStream(engine.imagePull({ reference, auth, platform }), signal)) {
    if (p.image === undefined) lines.show(p);
    else id = p.image.id;
  }
  return id;
}
