import assert from 'node:assert/strict';
import { HatobaError } from '../../../../common/errors.js';
import { silentLogger } from '../../../../common/logger.js';
import { attachmentOf } from '../../../../node-agent/local/attachment.js';
import { AttachmentReports } from '../../../../node-agent/local/attachment-reports.js';
import { bridgeNetwork } from '../../../../node-agent/local/bridge-subnet.js';
import { ClusterNetworks } from '../../../../node-agent/local/cluster-networks.js';
import { ContainerNetworks } from '../../../../node-agent/local/container-networks.js';
import { LocalContainers } from '../../../../node-agent/local/local-containers.js';
import type { AttachmentCalls } from '../../../../node-agent/session/attachment-calls.js';
import { AttachContainerResponse } from '../../../../proto/gen/hatoba/v1/dispatcher.js';
import { Image } from '../../../../proto/gen/hatoba/v1/types.js';
import type { Containers } from '../../../../runtime/engine.js';
import { FakeClock } from '../../../support/fake-clock.js';
import { seededRandom } from '../../../support/seeded-random.js';
import { aRequest, FakeLocalContainers, FakeSandboxes } from './fakes.js';

/** What managers know of attachments: "name@network address active aliases", by container. */
class FakeManagers implements AttachmentCalls {
  isThere = true;
  calls = 0;
  /** Of containers that it was not told to keep. */
  readonly dropped: string[] = [];
  /** An attachment of a container takes as long as this. */
  gate: (containerName: string) => Promise<void> = () => Promise.resolve();
  readonly known = new Map<string, Map<string, string>>();
  #last = 1;

  isConnected(): boolean {
    return this.isThere;
  }
  async attach(
    request: Parameters<AttachmentCalls['attach']>[0],
  ): Promise<AttachContainerResponse> {
    const { containerId, containerName, active, aliases } = request;
    this.#check();
    await this.gate(containerName);
    const name = request.network.replace(/^id-/, '');
    if (name === 'nowhere') throw new HatobaError('not-found', 'no network has that name');
    const networks = this.known.get(containerId) ?? new Map<string, string>();
    this.known.set(containerId, networks);
    const address = request.address === '' ? `10.0.0.${++this.#last}` : request.address;
    const words = [containerName, address, ...(active ? ['active'] : []), ...aliases.slice(1)];
    networks.set(name, words.join(' '));
    return AttachContainerResponse.fromPartial({
      attachment: { address: `${address}/24` },
      network: {
        networkId: `id-${name}`,
        name,
        subnets: [{ subnet: '10.0.0.0/24', gateway: '10.0.0.1' }],
      },
    });
  }
  detach(id: string): Promise<void> {
    this.#check();
    this.known.delete(id);
    return Promise.resolve();
  }
  keep(ids: readonly string[]): Promise<void> {
    this.#check();
    for (const id of this.known.keys()) {
      if (!ids.includes(id) && this.known.delete(id)) this.dropped.push(id);
    }
    return Promise.resolve();
  }
  /** Of all containers. */
  words(): string[] {
    return [...this.known.values()].flatMap((networks) =>
      [...networks].map(([network, words]) => `${network}: ${words}`),
    );
  }
  #check(): void {
    this.calls++;
    if (!this.isThere) throw new HatobaError('unavailable', 'no manager');
  }
}

describe('containers of one node on networks of the cluster', () => {
  let engine: FakeLocalContainers;
  let driver: FakeSandboxes;
  let managers: FakeManagers;
  let clock: FakeClock;
  let missing: Map<string, string>;
  let reports: AttachmentReports;
  let cluster: ClusterNetworks;
  let local: LocalContainers;

  beforeEach(() => {
    engine = new FakeLocalContainers();
    driver = new FakeSandboxes();
    managers = new FakeManagers();
    clock = new FakeClock();
    missing = new Map();
    const containers = engine as unknown as Containers; // only what is used is there
    const [random, log] = [seededRandom(1), silentLogger];
    const networks = new ContainerNetworks(
      { nodeId: 'n1', network: bridgeNetwork('172.30.0.0/16', 0) },
      {
        ...{ containers, driver, random, log },
        otherPorts: () => Promise.resolve([]),
        ownAddresses: () => new Set(),
        fitTo: () => assert.fail('nothing overlaps'),
      },
    );
    reports = new AttachmentReports({ managers, containers, clock, random, log });
    cluster = new ClusterNetworks({ reports, reasonFor: (id) => missing.get(id) ?? '', clock });
    const images = { find: () => Promise.resolve(Image.fromPartial({ id: 'i' })) };
    local = new LocalContainers(
      { hostname: 'box' },
      {
        ...{ engine: { containers, images }, networks, cluster, reports, random, log },
        networkWait: () => 'the bridge is not needed',
        onChange: () => undefined,
      },
    );
  });
  afterEach(async () => {
    await local[Symbol.asyncDispose]();
    await reports[Symbol.asyncDispose]();
    assert.equal(clock.pendingTimers, 0);
  });

  const create = async (...args: Parameters<typeof aRequest>): Promise<string> =>
    (await local.create(aRequest(...args))).state.config.id;

  it('keep them when they are made while a session begins', async () => {
    const open = new Map<string, () => void>();
    managers.gate = (name) => new Promise((resolve) => open.set(name, resolve));
    const first = create({ name: 'first', networks: [{ network: 'front' }] });
    await clock.advance(0);
    const second = create({ name: 'second', networks: [{ network: 'front' }] });
    await clock.advance(0);
    reports.sessionOpened();
    await clock.advance(0);
    open.get('first')?.();
    await first;
    managers.gate = () => Promise.resolve();
    open.get('second')?.();
    await reports.told(await second);
    assert.deepEqual(managers.dropped, []);
    assert.equal(managers.words().length, 2);
  });

  it('have the addresses that the managers give, and tell them who runs under what name', async () => {
    const id = await create({
      name: 'web',
      spec: { hostname: 'shop' },
      networks: [
        { network: 'front', aliases: ['www'] },
        { network: 'back', ipAddress: '10.0.0.99' },
      ],
      ports: [{ targetPort: 80, publishedPort: 8080 }],
    });
    const sandbox = driver.configs.get(`local-${id}`);
    assert.deepEqual(sandbox?.attachments, [
      { networkId: 'id-front', address: '10.0.0.2/24' },
      { networkId: 'id-back', address: '10.0.0.99/24' },
    ]);
    assert.equal(sandbox.hostPorts[0]?.publishedPort, 8080);
    assert.deepEqual(
      engine.get(id)?.config.hosts.map(({ address }) => address),
      ['10.0.0.2', '10.0.0.99'],
    );
    await local.start('web');
    const both = ['front: web 10.0.0.2 active shop www', 'back: web 10.0.0.99 active shop'];
    assert.deepEqual(managers.words(), both);
    await local.rename('web', 'site');
    assert.deepEqual(managers.words()[0], 'front: site 10.0.0.2 active shop www');
    engine.set(id, 'exited', { status: 'exited', exitCode: 0 });
    await reports.told(id);
    assert.deepEqual(managers.words()[0], 'front: site 10.0.0.2 shop www');
    await local.remove('site', { force: false, volumes: false });
    assert.deepEqual(managers.words(), []);
  });

  it('tell nothing twice', async () => {
    const id = await create({ networkMode: 'front' });
    await local.start(id);
    const { calls } = managers;
    engine.set(id, 'health', { health: 'healthy' });
    await reports.told(id);
    assert.equal(managers.calls, calls);
  });

  it('leave nothing with the managers when they cannot be made', async () => {
    await assert.rejects(create({ networks: [{ network: 'front' }, { network: 'nowhere' }] }), {
      kind: 'not-found',
    });
    engine.createError = new Error('no space');
    await assert.rejects(create({ networkMode: 'front' }), /no space/);
    await clock.advance(0);
    assert.deepEqual(managers.words(), []);
    assert.equal(driver.configs.size, 0);
  });

  it('refuse to be on one network twice, and beside the bridge', async () => {
    await assert.rejects(create({ networks: [{ network: 'front' }, { network: 'id-front' }] }), {
      message: /network "front" is named twice/,
    });
    await assert.rejects(create({ networks: [{ network: 'front' }, { network: 'bridge' }] }), {
      message: /cannot be on "bridge" and on networks of the cluster/,
    });
    await clock.advance(0);
  });

  it('wait for their networks, and say after a while why these are not there', async () => {
    missing.set('id-front', 'it is being made');
    const first = create({ networkMode: 'front' });
    await clock.advance(5000);
    missing.clear();
    cluster.changed();
    await first;
    missing.set('id-front', 'no device');
    const second = assert.rejects(create({ networkMode: 'front' }), {
      kind: 'unavailable',
      message: 'not there on this node after 10 s: network "front": no device',
    });
    await clock.advance(10_000);
    await second;
    await clock.advance(0);
    assert.equal(managers.known.size, 1);
  });

  it('cannot be made without managers, but run on, start again and go', async () => {
    const [one, two] = [await create({ networkMode: 'front' }), await create({ networkMode: 'front' })]; // prettier-ignore
    managers.isThere = false;
    await assert.rejects(create({ networkMode: 'front' }), {
      kind: 'unavailable',
      message: /network "front" cannot be joined: the managers.* cannot be reached/,
    });
    await local.start(one);
    await local.remove(two, { force: true, volumes: false });
    assert.equal(managers.words().length, 2);
    managers.isThere = true;
    reports.sessionOpened();
    await clock.advance(0);
    const attachment = attachmentOf(engine.get(one)?.config ?? assert.fail());
    assert.equal(attachment?.mode, 'cluster');
    assert.match(managers.words().join(), /^front: \S+ 10\.0\.0\.2 active$/);
  });

  it('do not lose an address to a session that opens while they are made', async () => {
    missing.set('id-front', 'it is being made');
    const made = create({ networkMode: 'front' });
    await clock.advance(0);
    reports.sessionOpened();
    await clock.advance(1000);
    missing.clear();
    cluster.changed();
    await made;
    assert.equal(managers.known.size, 1);
  });

  it('tell again what a manager that is there did not take', async () => {
    const id = await create({ networkMode: 'front' });
    const attach = managers.attach.bind(managers);
    managers.attach = () => Promise.reject(new HatobaError('deadline', 'too slow'));
    await local.start(id);
    assert.doesNotMatch(managers.words().join(), /active/);
    managers.attach = attach;
    await clock.advance(1000);
    assert.match(managers.words().join(), /active/);
  });
});
