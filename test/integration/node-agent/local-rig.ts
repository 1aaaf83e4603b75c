import { readFileSync } from 'node:fs';
import { ContainerCreateRequest, type Container } from '../../../proto/gen/hatoba/v1/engine.js';
import type { DeepPartial } from '../../../proto/gen/hatoba/v1/types.js';
import { PortConfig } from '../../../proto/gen/hatoba/v1/types.js';
import { parseListeners } from '../../../node-agent/core/proc-net.js';
import { readStream, unary } from '../../../proto/wire/client.js';
import { eventually } from '../../support/eventually.js';
import type { AgentHost } from './agent-host.js';

/** Says its word to everybody who connects. */
const SERVER = 'exec nc -ll -p 80 -e echo $WORD';

/** The containers of one node, as its users handle them. */
export class LocalRig {
  readonly #host: AgentHost;

  constructor(host: AgentHost) {
    this.#host = host;
  }

  /** Creates and starts a container of box:1. @returns it, as it is then */
  async run(request: DeepPartial<ContainerCreateRequest>): Promise<Container> {
    const id = await this.create(request);
    const { engine } = this.#host;
    return unary(engine.containerStart.bind(engine), { container: id });
  }

  /** One that answers at port 80 with a word, from now on. */
  async serve(word: string, request: DeepPartial<ContainerCreateRequest> = {}): Promise<Container> {
    const spec = { args: ['sh', '-c', SERVER], env: [`WORD=${word}`] };
    const server = await this.run({ name: word, ...request, spec: { ...spec, ...request.spec } });
    const files = ['tcp', 'tcp6'].map((name) => `/proc/${server.state?.pid ?? 0}/net/${name}`);
    await eventually(() => {
      const listeners = files.flatMap((file) => parseListeners(readFileSync(file, 'utf8'), 'tcp'));
      if (!listeners.some(({ port }) => port === 80)) throw new Error(`${word} does not listen`);
    });
    return server;
  }

  async create(request: DeepPartial<ContainerCreateRequest>): Promise<string> {
    const { engine } = this.#host;
    const spec = { image: 'box:1', stopGracePeriodMs: 0, ...request.spec };
    const whole = ContainerCreateRequest.fromPartial({ ...request, spec });
    return (await unary(engine.containerCreate.bind(engine), whole)).id;
  }

  inspect(container: string): Promise<Container> {
    const { engine } = this.#host;
    return unary(engine.containerInspect.bind(engine), { container, size: false });
  }

  async remove(container: string): Promise<void> {
    const { engine } = this.#host;
    const request = { container, force: true, volumes: true };
    await unary(engine.containerRemove.bind(engine), request);
  }

  /** All of them, tasks' too. */
  async list(): Promise<Container[]> {
    const { engine } = this.#host;
    const request = { all: true, size: false };
    return (await unary(engine.containerList.bind(engine), request)).containers;
  }

  async wait(container: string, condition = ''): Promise<Container> {
    const { engine } = this.#host;
    const request = { container, condition };
    return unary(engine.containerWait.bind(engine), request);
  }

  async logs(container: string): Promise<string[]> {
    const { engine } = this.#host;
    const lines: string[] = [];
    const call = engine.containerLogs({ container, options: undefined });
    for await (const { line } of readStream(call)) lines.push(line.toString());
    return lines;
  }

  /** What a command says that runs in a container of its own until it ends. */
  async say(command: string, request: DeepPartial<ContainerCreateRequest> = {}): Promise<string> {
    const { id } = await this.run({ ...request, spec: { args: ['sh', '-c', command] } });
    await this.wait(id);
    const lines = await this.logs(id);
    await this.remove(id);
    return lines.join('\n');
  }
}

export function port(targetPort: number, publishedPort = 0, hostIp = ''): PortConfig {
  return PortConfig.fromPartial({ targetPort, publishedPort, hostIp });
}
