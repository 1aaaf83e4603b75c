import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { answerImage } from '../support/answer-image.js';
import { dockerArchive } from '../support/image-fixtures.js';
import type { DevCluster } from './cluster.js';

/** Loads answer:1 and answer:2, of test/support/answer-server.pl, on every node. */
export async function loadAnswerImages(cluster: DevCluster): Promise<void> {
  for (const tag of ['answer:1', 'answer:2']) {
    const file = join(cluster.folder, `${tag.replace(':', '-')}.tar`);
    await writeFile(file, await dockerArchive(await answerImage(tag)));
    await cluster.hatoba('image', 'load', file);
  }
}

export interface AnswerService {
  name: string;
  image?: string;
  replicas?: number;
  /** On every node, by TCP and UDP. */
  publishedPort?: number;
  order?: 'start-first' | 'stop-first';
  constraints?: readonly string[];
}

/** Deploys services of the application, all on one network, and waits until they run. */
export async function deployAnswers(
  cluster: DevCluster,
  stack: string,
  services: readonly AnswerService[],
): Promise<void> {
  const text = ['services:', ...services.flatMap(serviceLines), 'networks: {back: {}}', ''];
  const file = await cluster.compose(`${stack}.yaml`, text.join('\n'));
  await cluster.hatoba('deploy', '-f', file, '--prune', stack);
}

function serviceLines(service: AnswerService): string[] {
  const { name, image = 'answer:1', replicas = 3, publishedPort, order = 'start-first' } = service;
  const { constraints = [] } = service;
  const ports = [`${publishedPort}:80`, `${publishedPort}:80/udp`];
  return [
    `  ${name}:`,
    `    image: ${image}`,
    `    networks: [back]`,
    ...(publishedPort === undefined ? [] : [`    ports: ${JSON.stringify(ports)}`]),
    '    healthcheck:',
    '      test: [CMD, /bin/answer, check]',
    '      interval: 2s',
    '      timeout: 5s',
    '      start_interval: 200ms',
    '      start_period: 10s',
    '      retries: 3',
    '    deploy:',
    `      replicas: ${replicas}`,
    `      update_config: {parallelism: 1, order: ${order}, monitor: 100ms}`,
    `      placement: {constraints: ${JSON.stringify(constraints)}}`,
  ];
}
