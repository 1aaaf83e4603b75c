import { setMaxListeners } from 'node:events';
import { describeError, HatobaError, wrapError } from '../../common/errors.js';
import type { Node } from '../../common/model/objects.js';
import {
  ImageProgress,
  NodeImageResult,
  type ImageListResponse,
  type ImageLoadInput,
  type ImageLoadResponse,
  type ImagePullRequest,
} from '../../proto/gen/hatoba/v1/agent.js';
import { NodeState } from '../../proto/gen/hatoba/v1/types.js';
import { readStream, sendStream, unary } from '../../proto/wire/client.js';
import type { View } from '../view/view.js';
import { nodeLabel, type AgentConnections } from './agents.js';
import { Channel } from './channel.js';

/** Chunks of an archive that may wait for one node while another is slower. */
const CHUNKS_AHEAD = 4;

/** Carries images to nodes and asks what they have. A node that fails is one result among others. */
export class ImageRelay {
  readonly #view: View;
  readonly #agents: AgentConnections;

  constructor(modules: { view: View; agents: AgentConnections }) {
    this.#view = modules.view;
    this.#agents = modules.agents;
  }

  /** Fans one archive out, at the pace of the slowest node that still takes it. */
  async load(
    input: AsyncIterable<ImageLoadInput>,
    signal: AbortSignal,
  ): Promise<ImageLoadResponse> {
    const messages = input[Symbol.asyncIterator]();
    const first = await messages.next();
    const start = first.done === true ? undefined : first.value.input;
    if (start?.$case !== 'start') {
      throw new HatobaError('invalid-argument', 'the first message must name the nodes');
    }
    const branches = this.#targets(start.value.nodes).map((node) => {
      const channel = new Channel<ImageLoadInput>(CHUNKS_AHEAD);
      return { channel, result: this.#loadOn(node, channel, signal) };
    });
    const channels = branches.map((b) => b.channel);
    try {
      await distribute(channels, messages);
    } catch (error) {
      // The archive broke off: no node may take what it has for the whole.
      for (const channel of channels) channel.fail(wrapError(error, 'reading the archive'));
      throw error;
    }
    return { results: (await Promise.all(branches.map((b) => b.result))).flat() };
  }

  async *pull(
    request: ImagePullRequest,
    signal: AbortSignal,
  ): AsyncGenerator<ImageProgress, void, undefined> {
    const nodes = this.#targets(request.nodes);
    const channel = new Channel<ImageProgress>();
    const reading = new AbortController();
    const both = AbortSignal.any([signal, reading.signal]);
    setMaxListeners(0, both); // each node's stream is one
    const copies = nodes.map((node) => this.#pullOn(node, request, channel, both));
    void Promise.all(copies).then(() => channel.close());
    try {
      yield* channel.read();
    } finally {
      reading.abort();
    }
  }

  async list(signal: AbortSignal): Promise<ImageListResponse> {
    const nodes = this.#targets([]).map(async (node) => {
      const origin = { nodeId: node.id, hostname: nodeLabel(node) };
      try {
        const client = this.#agents.of(node.id);
        const answer = await unary(client.imageList.bind(client), {}, { signal });
        return { ...origin, images: answer.nodes.flatMap((n) => n.images), err: '' };
      } catch (error) {
        return { ...origin, images: [], err: describeError(error) };
      }
    });
    return { nodes: await Promise.all(nodes) };
  }

  /** The nodes named, each once, or every ready node. */
  #targets(names: readonly string[]): Node[] {
    if (names.length > 0) {
      return [...new Set(names.map((name) => this.#view.findByPrefix('node', name)))];
    }
    const ready = [...this.#view.nodes()].filter((n) => n.status.state === NodeState.READY);
    if (ready.length === 0) throw new HatobaError('failed-precondition', 'no node is ready');
    return ready;
  }

  /** Never rejects. Stops reading the channel as soon as the node has answered. */
  async #loadOn(
    node: Node,
    channel: Channel<ImageLoadInput>,
    signal: AbortSignal,
  ): Promise<NodeImageResult[]> {
    const origin = { nodeId: node.id, hostname: nodeLabel(node) };
    const chunks = channel.read();
    try {
      const client = this.#agents.of(node.id);
      const { results } = await sendStream(client.imageLoad.bind(client), chunks, { signal });
      return results.map((result) => ({ ...result, ...origin }));
    } catch (error) {
      return [NodeImageResult.fromPartial({ ...origin, err: describeError(error) })];
    } finally {
      channel.abandon();
    }
  }

  /** Never rejects. */
  async #pullOn(
    node: Node,
    request: ImagePullRequest,
    channel: Channel<ImageProgress>,
    signal: AbortSignal,
  ): Promise<void> {
    const origin = { nodeId: node.id, hostname: nodeLabel(node) };
    try {
      const call = this.#agents.of(node.id).imagePull({ ...request, nodes: [] });
      for await (const progress of readStream(call, signal)) {
        if (!(await channel.push({ ...progress, ...origin }))) return;
      }
    } catch (error) {
      await channel.push(ImageProgress.fromPartial({ ...origin, err: describeError(error) }));
    }
  }
}

/** Ends when the archive does, or when no node takes any more of it. */
async function distribute(
  channels: readonly Channel<ImageLoadInput>[],
  messages: AsyncIterator<ImageLoadInput>,
): Promise<void> {
  let live = channels;
  let message: ImageLoadInput = { input: { $case: 'start', value: { nodes: [] } } };
  while (live.length > 0) {
    const taken = await Promise.all(live.map((channel) => channel.push(message)));
    live = live.filter((_, i) => taken[i] === true);
    const next = await messages.next();
    if (next.done === true) break;
    message = next.value;
  }
  for (const channel of live) channel.close();
}
