import assert from 'node:assert/strict';
import { STACK_LABEL } from '../../../../common/model/labels.js';
import type { Node, Service, Task } from '../../../../common/model/objects.js';
import { AgentConnections } from '../../../../manager/rpc/agents.js';
import type { Change } from '../../../../manager/core/snapshot.js';
import { EventLog } from '../../../../manager/events/event-log.js';
import { controlMethods } from '../../../../manager/rpc/control-server.js';
import type { ControlService } from '../../../../proto/gen/hatoba/v1/control.js';
import {
  Attachment,
  NetworkSpec,
  NodeAvailability,
  NodeRole,
  NodeState,
  ServiceSpec,
  StackSpec,
  TaskState,
} from '../../../../proto/gen/hatoba/v1/types.js';
import { applyPlan } from '../../../../manager/store/write.js';
import type { CallContext, Implementation } from '../../../../proto/wire/service.js';
import {
  aCluster,
  aNetwork,
  aNode,
  aService,
  aTask,
  type Some,
} from '../../../support/builders.js';
import { createClusterRig, type ClusterRig } from '../../../support/cluster-rig.js';

const OWN = { nodeId: 'm1', address: '10.0.0.1:4400' };
const ROOT = 'the root certificate';

describe('control API', () => {
  let rig: ClusterRig;
  let agents: AgentConnections;
  let control: Implementation<typeof ControlService>;
  const call: CallContext = {
    caller: { kind: 'local' },
    signal: new AbortController().signal,
    peer: 'unknown',
  };

  beforeEach(async () => {
    rig = await createClusterRig();
    await rig.put('cluster', aCluster({ rootCaCertificatePem: ROOT, rootCaKeyPem: 'secret' }));
    const identity = { caPem: '', certPem: '', keyPem: '' };
    agents = new AgentConnections({ view: rig.view, identity });
    const networks = { appliedNetworkRevision: () => undefined, networkWaitOf: () => '' };
    const further = { networks, agents, events: new EventLog() };
    control = controlMethods({ cluster: rig, own: OWN, random: rig.random, ...further });
  });
  afterEach(async () => {
    await agents[Symbol.asyncDispose]();
    await rig[Symbol.asyncDispose]();
  });

  function spec(name: string, some: Some<ServiceSpec> = {}): ServiceSpec {
    return ServiceSpec.fromPartial({
      mode: { $case: 'replicated', value: { replicas: 2 } },
      ...some,
      name,
      taskTemplate: { containerSpec: { image: 'web:1' }, ...some.taskTemplate },
    });
  }

  async function create(name: string, some: Some<ServiceSpec> = {}): Promise<Service> {
    await control.createService({ spec: spec(name, some) }, call);
    const service = rig.view.findByName('service', name);
    assert.ok(service !== undefined, 'a created service can be read at once');
    return service;
  }

  describe('services', () => {
    it('are created with defaults, and answered with their status', async () => {
      const { id } = await create('web');
      await rig.put(
        'task',
        aTask({ serviceId: id, slot: 1, status: { state: TaskState.RUNNING } }),
        aTask({ serviceId: id, slot: 2, status: { state: TaskState.STARTING } }),
        aTask({
          serviceId: id,
          slot: 3,
          status: { state: TaskState.RUNNING },
          desiredState: TaskState.REMOVE,
        }),
      );
      const service = await control.getService({ service: 'web' }, call);
      assert.equal(service.id, id);
      assert.deepEqual(service.serviceStatus, {
        runningTasks: 1,
        desiredTasks: 2,
        completedTasks: 0,
      });
      assert.equal(service.spec?.updateConfig?.monitorMs, 5000);
    });

    it('are refused with all mistakes at once, each with its place', async () => {
      const bad = spec('no spaces', {
        endpointSpec: { ports: [{ targetPort: 0, publishedPort: 80 }] },
        taskTemplate: { networks: [{ target: 'nowhere' }], placement: { constraints: ['node.x'] } },
      });
      await assert.rejects(control.createService({ spec: bad }, call), (error: Error) => {
        const places = error.message.split('\n').map((line) => line.split(':')[0]);
        assert.ok(places.includes('name'), error.message);
        assert.ok(places.includes('endpointSpec.ports[0].targetPort'), error.message);
        assert.ok(places.includes('taskTemplate.networks[0].target'), error.message);
        return true;
      });
      assert.deepEqual([...rig.view.services()], []);
    });

    it('need a spec and a mode', async () => {
      const modeless = { ...spec('web'), mode: undefined };
      for (const given of [undefined, modeless]) {
        await assert.rejects(control.createService({ spec: given }, call), {
          kind: 'invalid-argument',
        });
      }
    });

    it('of a name that is taken are refused, also when both come at once', async () => {
      const both = await Promise.allSettled([
        control.createService({ spec: spec('web') }, call),
        control.createService({ spec: spec('web') }, call),
      ]);
      const refused = both.find((r) => r.status === 'rejected');
      assert.equal((refused?.reason as { kind?: string } | undefined)?.kind, 'already-exists');
      assert.equal([...rig.view.services()].length, 1);
    });

    it('that publish a port that is published name its holder', async () => {
      const ports = [{ targetPort: 80, publishedPort: 8080 }];
      await create('web', { endpointSpec: { ports } });
      const second = control.createService(
        { spec: spec('api', { endpointSpec: { ports } }) },
        call,
      );
      await assert.rejects(second, { kind: 'already-exists', message: /8080.*service web/ });
    });

    it('are found by name, id and unique prefix', async () => {
      const { id } = await create('web');
      for (const name of ['web', id, id.slice(0, 24)]) {
        assert.equal((await control.getService({ service: name }, call)).id, id, name);
      }
      await assert.rejects(get('nope'), { kind: 'not-found', message: /"nope"/ });
      await create('api');
      await assert.rejects(get('0'), { kind: 'invalid-argument', message: /fits 2 ids/ });
    });

    function get(service: string): Promise<unknown> {
      return Promise.resolve().then(() => control.getService({ service }, call));
    }

    it('are changed; a version that is past is a conflict, 0 is not checked', async () => {
      const first = await create('web');
      const template = { containerSpec: { image: 'web:2' } };
      const request = { service: 'web', spec: spec('web', { taskTemplate: template }) };
      const update = { ...request, version: first.version, rollback: false };
      const second = await control.updateService(update, call);
      assert.equal(second.spec?.taskTemplate?.containerSpec?.image, 'web:2');
      assert.equal(second.specVersion, 2);
      assert.equal(second.previousSpec?.taskTemplate?.containerSpec?.image, 'web:1');
      await assert.rejects(control.updateService(update, call), { kind: 'conflict' });
      const { version } = await control.updateService({ ...update, version: 0 }, call);
      assert.equal(version, second.version, 'an equal spec is no write');
    });

    it('are written again when another write came between and no version was given', async () => {
      const { id } = await create('web');
      const service = rig.view.service(id);
      assert.ok(service !== undefined);
      const endpoint = { ...service.endpoint, ports: [{ ...PORT }] };
      const other = rig.change('service', { ...service, endpoint });
      const racing = control.updateService(
        { service: 'web', version: 0, rollback: false, spec: spec('web', { labels: { a: '1' } }) },
        call,
      );
      await rig.clock.advance(500);
      const [updated] = await Promise.all([racing, other]);
      assert.deepEqual(updated.spec?.labels, { a: '1' });
      assert.equal(updated.endpoint?.ports.length, 1, 'the other write is not lost');
    });
    const PORT = {
      name: '',
      protocol: 'PORT_PROTOCOL_TCP',
      targetPort: 1,
      publishedPort: 2,
      publishMode: 'PUBLISH_MODE_INGRESS',
      hostIp: '',
    } as const;

    it('go back to the spec before', async () => {
      await create('web');
      const none = { service: 'web', version: 0, spec: undefined, rollback: true };
      await assert.rejects(control.updateService(none, call), { kind: 'failed-precondition' });
      const next = spec('web', { taskTemplate: { containerSpec: { image: 'web:2' } } });
      await control.updateService({ ...none, spec: next, rollback: false }, call);
      const back = await control.updateService(none, call);
      assert.equal(back.spec?.taskTemplate?.containerSpec?.image, 'web:1');
    });

    it('that are removed are marked, and stay until their tasks are gone', async () => {
      const { id } = await create('web');
      await control.removeService({ service: 'web' }, call);
      assert.equal(rig.view.service(id)?.pendingDelete, true);
      await control.removeService({ service: 'web' }, call);
      await assert.rejects(control.createService({ spec: spec('web') }, call), {
        kind: 'already-exists',
        message: /still being removed/,
      });
    });

    it('are listed by stack', async () => {
      await create('shop_web', { labels: { [STACK_LABEL]: 'shop' } });
      await create('other');
      const names = async (stack: string): Promise<(string | undefined)[]> =>
        (await control.listServices({ stack }, call)).services.map((s) => s.spec?.name);
      assert.deepEqual(await names('shop'), ['shop_web']);
      assert.deepEqual(await names(''), ['other', 'shop_web']);
    });
  });

  describe('tasks', () => {
    const RUNNING = { status: { state: TaskState.RUNNING } };
    const FAILED = {
      status: { state: TaskState.FAILED, err: 'exit 1' },
      desiredState: TaskState.SHUTDOWN,
    };

    async function list(some: Partial<Parameters<typeof control.listTasks>[0]>): Promise<string[]> {
      const request = { service: '', stack: '', node: '', history: false, ...some };
      const { tasks } = await control.listTasks(request, call);
      return tasks.map((t) => `${t.slot}.${t.generation}`);
    }

    async function put(...tasks: Some<Task>[]): Promise<void> {
      await rig.put('service', aService());
      await rig.put('task', ...tasks.map((t) => aTask(t)));
    }

    it('show what stands for each slot, and with history all', async () => {
      await put(
        { slot: 1, generation: 1, ...FAILED },
        { slot: 1, generation: 2, ...RUNNING },
        { slot: 2, generation: 1, ...RUNNING },
        { slot: 3, ...RUNNING, desiredState: TaskState.REMOVE },
      );
      assert.deepEqual(await list({}), ['1.2', '2.1']);
      assert.deepEqual(await list({ history: true }), ['1.2', '1.1', '2.1', '3.1']);
    });

    it('show why a slot does not run', async () => {
      await put(
        { slot: 1, generation: 1, ...FAILED },
        { slot: 1, generation: 2, ...FAILED },
        { slot: 1, generation: 3, status: { state: TaskState.PENDING } },
        { slot: 2, generation: 1, ...FAILED },
      );
      assert.deepEqual(await list({}), ['1.3', '1.2', '2.1']);
    });

    it('show both tasks of a slot that is updated by starting first', async () => {
      await put(
        { slot: 1, generation: 1, ...RUNNING },
        { slot: 1, generation: 2, status: { state: TaskState.STARTING } },
      );
      assert.deepEqual(await list({}), ['1.2', '1.1']);
    });

    it('of a node that is lost say so, whatever it reported last', async () => {
      const status = { state: NodeState.DOWN };
      await rig.put('node', aNode({ id: 'n1', index: 1 }), aNode({ id: 'n2', index: 2, status }));
      const ended = { status: { state: TaskState.SHUTDOWN }, desiredState: TaskState.SHUTDOWN };
      await put(
        { slot: 1, nodeId: 'n1', ...RUNNING },
        { slot: 2, nodeId: 'n2', ...RUNNING },
        { slot: 3, nodeId: 'n2', ...ended },
        { slot: 4, nodeId: 'n3', ...RUNNING },
      );
      const request = { service: '', stack: '', node: '', history: true };
      const { tasks } = await control.listTasks(request, call);
      const unknown = 'whether the container still runs is not known';
      assert.deepEqual(
        tasks.map((t) => t.status?.err),
        ['', `node n2 is down: ${unknown}`, '', `node n3 was removed: ${unknown}`],
      );
      assert.match((await control.getTask({ task: 'web.2' }, call)).status?.err ?? '', /is down/);
      assert.equal(rig.view.findByPrefix('task', 'web.2').status.err, '', 'nothing is stored');
    });

    it('are filtered by service, stack and node', async () => {
      await rig.put('node', aNode({ id: 'n1', index: 1 }));
      await rig.put('service', aService({ spec: { name: 'api' } }));
      await put(
        { slot: 1, nodeId: 'n1', ...RUNNING },
        { slot: 2, nodeId: 'n2', ...RUNNING, serviceLabels: { [STACK_LABEL]: 'shop' } },
        { slot: 9, serviceId: 'id-api', ...RUNNING },
      );
      assert.deepEqual(await list({ service: 'web' }), ['1.1', '2.1']);
      assert.deepEqual(await list({ stack: 'shop' }), ['2.1']);
      assert.deepEqual(await list({ node: 'n1' }), ['1.1']);
    });

    it('are found by the name of their slot', async () => {
      await put({ slot: 1, generation: 1, ...FAILED }, { slot: 1, generation: 2, ...RUNNING });
      assert.equal((await control.getTask({ task: 'web.1' }, call)).generation, 2);
    });
  });

  describe('nodes', () => {
    beforeEach(async () => {
      await rig.put(
        'node',
        aNode({
          id: 'm1',
          index: 1,
          spec: { role: NodeRole.MANAGER },
          managerStatus: { addr: 'a' },
        }),
        aNode({ id: 'n2', index: 2 }),
      );
    });
    const node = (id: string): Node => rig.view.findByPrefix('node', id);

    it('are drained and labelled', async () => {
      const { spec: before, version } = node('n2');
      const wanted = { ...before, labels: { zone: 'a' }, availability: NodeAvailability.DRAIN };
      const request = { node: 'n2', version, spec: wanted };
      assert.deepEqual((await control.updateNode(request, call)).spec, wanted);
      await assert.rejects(control.updateNode(request, call), { kind: 'conflict' });
      const { revision } = rig.view;
      await control.updateNode({ ...request, version: 0 }, call);
      assert.equal(rig.view.revision, revision, 'what is so already is not written');
    });

    it('keep their role, and have names of their own', async () => {
      const wanted = { ...node('n2').spec, role: NodeRole.MANAGER, name: 'm1' };
      await assert.rejects(control.updateNode({ node: 'n2', version: 0, spec: wanted }, call), {
        message: /^role: .*\nname: .*called "m1" already$/,
      });
    });

    it('say who leads', async () => {
      rig.view.setLeader('m1');
      const { nodes } = await control.listNodes({}, call);
      assert.deepEqual(
        nodes.map((n) => [n.id, n.managerStatus?.leader]),
        [
          ['m1', true],
          ['n2', undefined],
        ],
      );
    });

    it('are removed when they are down, or by force; never the manager that answers', async () => {
      const remove = (id: string, force: boolean): Promise<unknown> =>
        control.removeNode({ node: id, force }, call);
      await assert.rejects(remove('n2', false), {
        kind: 'failed-precondition',
        message: /is ready/,
      });
      await assert.rejects(remove('m1', true), { kind: 'failed-precondition' });
      await rig.change('node', {
        ...node('n2'),
        status: { ...node('n2').status, state: NodeState.DOWN },
      });
      await remove('n2', false);
      assert.equal(rig.view.node('n2'), undefined);
      const mark = rig.store.get('/hatoba/v1/removed/node/n2');
      assert.notEqual(await mark, undefined, 'its certificate is still valid');
      await rig.clock.advance(91 * 86_400_000);
      assert.equal(await rig.store.get('/hatoba/v1/removed/node/n2'), undefined);
    });
  });

  describe('networks', () => {
    const network = (name: string, some: Some<NetworkSpec> = {}): Promise<unknown> =>
      control.createNetwork({ spec: NetworkSpec.fromPartial({ ...some, name }) }, call);

    it('are overlays unless they say otherwise, and have their subnet at once', async () => {
      await network('back');
      const { spec: made, ipam, vni } = await control.getNetwork({ network: 'back' }, call);
      assert.equal(made?.driver, 'overlay');
      assert.deepEqual(ipam, [{ subnet: '10.128.0.0/24', gateway: '10.128.0.1', ipRange: '' }]);
      assert.equal(vni, 4096);
      await assert.rejects(network('back'), { kind: 'already-exists' });
    });

    it('made at the same time have different subnets', async () => {
      const names = Array.from({ length: 8 }, (_, i) => `net${i}`);
      const making = Promise.all(names.map((name) => network(name)));
      await rig.clock.advance(5000);
      await making;
      const made = [...rig.view.networks()];
      assert.equal(new Set(made.map((n) => n.ipam[0]?.subnet)).size, names.length);
      assert.equal(new Set(made.map((n) => n.vni)).size, names.length);
    });

    it('that cannot be had are refused by the call', async () => {
      const route = { description: { hostSubnets: ['10.20.0.0/16', 'what?'] } };
      await rig.put('node', aNode({ id: 'n7', ...route }));
      await network('back', { ipam: [{ subnet: '10.9.0.0/24' }] });
      await assert.rejects(network('x', { ipam: [{ subnet: '10.9.0.128/25' }] }), {
        kind: 'already-exists',
        message: /10\.9\.0\.128\/25 overlaps 10\.9\.0\.0\/24 of network back: choose another/,
      });
      await assert.rejects(network('x', { ipam: [{ subnet: '10.20.3.0/24' }] }), {
        kind: 'failed-precondition',
        message: /10\.20\.3\.0\/24 overlaps 10\.20\.0\.0\/16 of a route of node n7/,
      });
      assert.equal(rig.view.findByName('network', 'x'), undefined);
    });

    it('stay while containers are on them, and those that every cluster has for ever', async () => {
      await network('back', { attachable: true });
      const { id: networkId } = rig.view.findByPrefix('network', 'back');
      await rig.put('node', aNode({ id: 'n7' }));
      const on = { nodeId: 'n7', networkId, containerName: 'db', containerId: 'c1' };
      const attachment = Attachment.fromPartial({ id: 'a1', ...on, address: '10.128.0.2/24' });
      await rig.put('attachment', attachment);
      await assert.rejects(control.removeNetwork({ network: 'back' }, call), {
        kind: 'failed-precondition',
        message: 'network back is in use by container db on node n7: remove them first',
      });
      await rig.put('network', aNetwork({ id: 'host', spec: { name: 'host', driver: 'host' } }));
      await assert.rejects(control.removeNetwork({ network: 'host' }, call), {
        kind: 'failed-precondition',
        message: /every cluster has/,
      });
    });

    it('are resolved to ids in services, and not removed while one uses them', async () => {
      await network('back');
      const { id } = rig.view.findByPrefix('network', 'back');
      const networks = [{ target: 'back' }];
      const template = { containerSpec: { image: 'web:1' }, networks };
      const { spec: stored } = await create('web', { taskTemplate: template });
      assert.equal(stored.taskTemplate.networks[0]?.target, id);
      const remove = (): Promise<unknown> => control.removeNetwork({ network: 'back' }, call);
      await assert.rejects(remove(), { kind: 'failed-precondition', message: /service web/ });
      await control.removeService({ service: 'web' }, call);
      await remove();
      assert.equal(rig.view.network(id)?.pendingDelete, true);
    });
  });

  describe('stacks', () => {
    function shop(images: Record<string, string>): StackSpec {
      const labels = { [STACK_LABEL]: 'shop' };
      return StackSpec.fromPartial({
        name: 'shop',
        networks: [{ name: 'shop_default', driver: 'overlay', labels }],
        services: Object.entries(images).map(([name, image]) =>
          spec(`shop_${name}`, {
            labels,
            taskTemplate: { containerSpec: { image }, networks: [{ target: 'shop_default' }] },
          }),
        ),
      });
    }

    async function deploy(stack: StackSpec, options = {}): Promise<string[]> {
      const request = { spec: stack, prune: false, planOnly: false, ...options };
      const { changes } = await control.deployStack(request, call);
      return changes.map((c) => `${c.action.slice(20)} ${c.name}`);
    }

    it('come into being, change and shrink by one call each', async () => {
      assert.deepEqual(await deploy(shop({ web: 'w:1', api: 'a:1' })), [
        'CREATE shop_default',
        'CREATE shop_api',
        'CREATE shop_web',
      ]);
      assert.deepEqual(await deploy(shop({ web: 'w:2' }), { prune: true }), [
        'NONE shop_default',
        'REMOVE shop_api',
        'UPDATE shop_web',
      ]);
      assert.equal(rig.view.findByPrefix('service', 'shop_api').pendingDelete, true);
      assert.equal(rig.view.findByPrefix('service', 'shop_web').specVersion, 2);
    });

    it('are only looked at with plan_only', async () => {
      const changes = await deploy(shop({ web: 'w:1' }), { planOnly: true });
      assert.deepEqual(changes, ['CREATE shop_default', 'CREATE shop_web']);
      assert.deepEqual([...rig.view.stacks()], []);
      assert.deepEqual([...rig.view.services()], []);
    });

    it('are refused whole when a part is wrong', async () => {
      await assert.rejects(deploy(shop({ web: 'w:1', 'not ok': 'a:1' })), {
        kind: 'invalid-argument',
        message: /^services\[1\]\.name: /,
      });
      assert.deepEqual([...rig.view.networks()], []);
    });

    it('name the new objects when the old ones vanish while they are deployed again', async () => {
      await deploy(shop({ web: 'w:1' }));
      await control.removeStack({ stack: 'shop' }, call);
      const old = rig.view.findByPrefix('service', 'shop_web');
      const removal: Change = { action: 'remove', kind: 'service', object: old };
      const removed = applyPlan(rig.store, { groups: [[removal]] }, rig);
      const request = { spec: shop({ web: 'w:1' }), prune: false, planOnly: false };
      const { changes } = await control.deployStack(request, call);
      assert.equal((await removed).conflicts, 0);
      const web = rig.view.findByPrefix('service', 'shop_web');
      assert.notEqual(web.id, old.id);
      assert.deepEqual(changes, [
        {
          action: 'STACK_CHANGE_ACTION_UPDATE',
          kind: 'network',
          name: 'shop_default',
          id: rig.view.findByPrefix('network', 'shop_default').id,
        },
        { action: 'STACK_CHANGE_ACTION_CREATE', kind: 'service', name: 'shop_web', id: web.id },
      ]);
    });

    it('go away with all their parts', async () => {
      await deploy(shop({ web: 'w:1' }));
      await control.removeStack({ stack: 'shop' }, call);
      assert.ok([...rig.view.services()].every((s) => s.pendingDelete));
      assert.ok([...rig.view.networks()].every((n) => n.pendingDelete));
      assert.equal(rig.view.findByPrefix('stack', 'shop').pendingDelete, true);
      await assert.rejects(control.removeStack({ stack: 'no' }, call), { kind: 'not-found' });
    });
  });

  describe('system', () => {
    it('says what is in the cluster, and no secret', async () => {
      await rig.put('node', aNode({ id: 'm1', index: 1, spec: { role: NodeRole.MANAGER } }));
      rig.view.setLeader('m1');
      const info = await control.getSystemInfo({}, call);
      assert.equal(info.clusterId, 'cluster');
      assert.deepEqual([info.nodes, info.readyNodes, info.managers], [1, 1, 1]);
      assert.deepEqual([info.nodeId, info.leaderNodeId], ['m1', 'm1']);
      assert.equal(JSON.stringify(info).includes('secret'), false);
    });
  });
});
