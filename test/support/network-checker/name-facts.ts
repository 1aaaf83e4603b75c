import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Network, Node, Task } from '../../../common/model/objects.js';
import type { ClusterObjects } from './cluster-objects.js';
import { bare, endpointsOf, networksOn, servicesOn } from './network-model.js';

/** Question → answers, sorted; of one asker, who is on the network. */
export interface NameCheck {
  host: string;
  network: string;
  nameserver: string;
  pid: number;
  expected: ReadonlyMap<string, readonly string[]>;
}

/**
 * Asks every question of its arguments at once and prints the answers as JSON. An answer that does
 * not come soon is asked for again by the next comparison, which may find other names.
 */
const ASKER = `
const { Resolver } = require('node:dns').promises;
const resolver = new Resolver({ timeout: 500, tries: 1 });
const [, nameserver, ...questions] = process.argv;
resolver.setServers([nameserver]);
const ask = (q) => (/^[0-9.]+$/.test(q) ? resolver.reverse(q) : resolver.resolve4(q));
Promise.all(questions.map((q) => ask(q).catch((e) => [e.code === 'ENODATA' ? 'nothing' : e.code])))
  .then((answers) => console.log(JSON.stringify(answers)));`;

/** For each network of a node what one of its tasks there must be told. */
export function nameChecks(objects: ClusterObjects, node: Node): NameCheck[] {
  return networksOn(objects, node.id).flatMap((network) => {
    const asker = askerOn(objects, node, network);
    if (asker === undefined || network.spec.ingress) return [];
    return {
      host: node.description.hostname,
      network: network.spec.name,
      nameserver: network.ipam[0]?.gateway ?? '',
      pid: asker.status.containerStatus.pid,
      expected: expectedNames(objects, network),
    };
  });
}

/** A task that runs there and has no other network, whose names would be answered first. */
function askerOn(objects: ClusterObjects, node: Node, { id }: Network): Task | undefined {
  const ingress = objects.networks.find((n) => n.spec.ingress)?.id;
  return objects.tasks.find(
    ({ nodeId, status, networksAttachments }) =>
      nodeId === node.id &&
      status.state === 'TASK_STATE_RUNNING' &&
      status.containerStatus.pid > 0 &&
      networksAttachments.some((a) => a.networkId === id) &&
      networksAttachments.every((a) => a.networkId === id || a.networkId === ingress),
  );
}

function expectedNames(objects: ClusterObjects, network: Network): Map<string, string[]> {
  const names = new Map<string, Set<string>>();
  const add = (name: string, addresses: readonly string[]): void => {
    const known = names.get(name) ?? new Set();
    for (const address of addresses) known.add(address);
    names.set(name, known);
  };
  const endpoints = endpointsOf(objects).filter((e) => e.networkId === network.id);
  for (const { service, virtualIp } of servicesOn(objects, network)) {
    const tasks = endpoints.filter((e) => e.serviceId === service.id);
    const ready = tasks.filter((t) => t.ready).map((t) => t.address);
    const stack = service.spec.labels['com.docker.stack.namespace'] ?? '';
    const short = service.spec.name.startsWith(`${stack}_`)
      ? [service.spec.name.slice(stack.length + 1)]
      : [];
    for (const name of [service.spec.name, ...(stack === '' ? [] : short)]) {
      add(name, virtualIp === '' ? ready : [virtualIp]);
      add(`tasks.${name}`, ready);
      for (const { slot } of tasks.filter((t) => t.slot > 0)) {
        add(`${slot}.${name}`, readyOf(tasks.filter((t) => t.slot === slot)));
      }
    }
    if (virtualIp !== '') add(virtualIp, [`${service.spec.name}.${network.spec.name}`]);
  }
  for (const endpoint of endpoints) {
    add(endpoint.name, readyOf([endpoint]));
    if (endpoint.ready) add(endpoint.address, [`${endpoint.name}.${network.spec.name}`]);
  }
  return new Map([...names].map(([name, found]) => [name, [...found].sort()]));
}

function readyOf(endpoints: readonly { ready: boolean; address: string }[]): string[] {
  return endpoints.filter((e) => e.ready).map((e) => bare(e.address));
}

/** What is answered wrongly, a line for each. */
export async function wrongNames(check: NameCheck): Promise<string[]> {
  const { pid, nameserver, expected, network } = check;
  const questions = [...expected.keys()];
  const node = [process.execPath, '-e', ASKER, nameserver, ...questions];
  const args = [`--net=/proc/${pid}/ns/net`, '--', ...node];
  let answers: string[][];
  try {
    answers = JSON.parse((await promisify(execFile)('nsenter', args)).stdout) as string[][];
  } catch {
    return [`nobody could be asked on ${network}`]; // the asker has ended: another one is found
  }
  return questions.flatMap((question, i) => {
    const wanted = expected.get(question) ?? [];
    const got = (answers[i] ?? []).sort();
    const text = wanted.length === 0 ? 'nothing' : wanted.join(' ');
    return got.join(' ') === text
      ? []
      : [`name ${question} on ${network}: answered ${got.join(' ')}, not ${text}`];
  });
}
