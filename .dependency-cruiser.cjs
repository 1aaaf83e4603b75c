// The dependency arrows (ARCHITECTURE.md, "Folders"). `allowed` mode: an arrow that is not listed
// is an error, and so is any cycle. Types of proto/gen are the one model and may be used anywhere.
const rooms = (from, to) => ({ from: { path: from }, to: { path: to } });
const npm = (name) => `node_modules/${name}/`;
const CORE = '^[a-z-]+/core/';

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'cores-are-pure',
      severity: 'error',
      comment: 'core/ may use node:* in no case',
      from: { path: CORE },
      to: { dependencyTypes: ['core'] },
    },
    {
      name: 'cores-know-only-base-and-model',
      comment: 'linux/ports.ts is types alone: the plans that a core makes are data for the kernel',
      severity: 'error',
      from: { path: '^([a-z-]+)/core/' },
      to: {
        path: '^(manager|node-agent|linux|runtime|overlay-net|cli|deploy)/',
        pathNot: '^($1/core/|overlay-net/core/|linux/ports\\.ts$)',
      },
    },
    {
      name: 'adapters-only-in-mains',
      severity: 'error',
      from: { pathNot: '^(common/adapters/|test/|bench/|.*/main\\.ts$)' },
      to: { path: '^common/adapters/' },
    },
    {
      name: 'winston-behind-its-adapter',
      severity: 'error',
      from: { pathNot: '^(common/adapters/|node_modules/)' },
      to: { path: npm('winston') },
    },
    {
      name: 'koffi-only-in-linux',
      severity: 'error',
      from: { pathNot: '^(linux/|node_modules/)' },
      to: { path: npm('(koffi|@koromix)') },
    },
    {
      name: 'nothing-imports-tests',
      severity: 'error',
      from: { pathNot: '^(test|bench)/' },
      to: { path: '^(test|bench)/' },
    },
  ],
  allowedSeverity: 'error',
  allowed: [
    rooms('^common/', '^(common/|proto/gen/)'),
    rooms('^common/adapters/', npm('(winston|yaml)')),
    rooms('^proto/gen/', '^proto/gen/|node_modules/(@grpc|@bufbuild)/'),
    rooms('^proto/wire/', '^(proto/|common/)|node_modules/@grpc/'),
    rooms('^linux/', `^(linux/|common/)|${npm('koffi')}`),
    rooms(
      '^runtime/',
      '^(runtime/|linux/|common/|proto/gen/)|node_modules/(tar-stream|@types/tar-stream)/',
    ),
    rooms(
      '^overlay-net/',
      '^(overlay-net/|linux/|common/|proto/gen/)|node_modules/(dns-packet|@types/dns-packet)/',
    ),
    rooms(
      '^manager/',
      '^(manager/|common/|proto/|overlay-net/core/)|node_modules/(@grpc|etcd3|yaml|@peculiar)/',
    ),
    rooms('^node-agent/', '^(node-agent/|common/|proto/)|node_modules/(@grpc|yaml|@peculiar)/'),
    rooms(
      '^node-agent/(executor/|local/|main\\.ts$|images\\.ts$)',
      '^(runtime|overlay-net|linux)/',
    ),
    rooms(
      '^cli/',
      '^(cli/|common/|proto/|deploy/dev/)|node_modules/(@grpc|yaml|commander|cli-table3)/',
    ),
    // The user's own side of a copy is read and written by the same code as the container's.
    rooms(
      '^cli/copy/',
      '^(runtime/files/(rooted-tree|tree-packer|tree-unpacker|top-name)|linux/file-calls)\\.ts$',
    ),
    rooms('^deploy/', '^(deploy/|common/)'),
    rooms('^(test|bench)/', '.*'),
    { from: { pathNot: CORE }, to: { dependencyTypes: ['core'] } },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      extensions: ['.ts', '.js', '.cjs', '.json'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
    exclude: { path: '(^|/)dist/' },
  },
};
