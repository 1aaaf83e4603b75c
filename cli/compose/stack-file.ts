import { LineCounter, parseDocument } from 'yaml';
import { STACK_LABEL } from '../../common/model/labels.js';
import type { StackSpec } from '../../common/model/objects.js';
import { definedOf } from './deploy-section.js';
import { fullName } from './full-name.js';
import { readNetwork, type StackNetwork } from './network-section.js';
import { Value, type Problem, type Source } from './reader.js';
import { readService, type ServiceScope } from './service-section.js';
import { findPlace, type PartNames } from './spec-places.js';

/** A compose file and the world it is read in; nothing here touches the disk. */
export interface StackFile {
  /** As the user named it; for messages. */
  file: string;
  text: string;
  /** Absolute folder of the file. */
  baseDir: string;
  /** Environment and .env, for ${VARIABLES}. */
  variables: Readonly<Record<string, string | undefined>>;
  /** @throws when the file cannot be read */
  readEnvFile: (path: string) => readonly string[];
}

/** The largest compose file that is read; larger ones are a mistake or an attack. */
export const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** What a compose file declares. */
export interface ParsedStack {
  readonly spec: StackSpec;
  /** Every mistake there is; with one the spec must not be used. */
  readonly problems: readonly Problem[];
  /**
   * The mistake that the managers found in a part of the spec ("services[0].taskTemplate.priority"),
   * where it stands in the file; undefined when it is about no part of it.
   */
  readonly problemAt: (path: string, message: string) => Problem | undefined;
}

/** Reads a compose file into the stack it declares. */
export function parseStackFile(stack: string, input: StackFile): ParsedStack {
  const lines = new LineCounter();
  const document = parseDocument(input.text, {
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: true,
  });
  const problems: Problem[] = [];
  const spec: StackSpec = { name: stack, services: [], networks: [] };
  for (const error of document.errors) {
    const { line, col } = lines.linePos(error.pos[0]);
    problems.push({ file: input.file, line, column: col, path: '', message: error.message });
  }
  if (problems.length > 0) return { spec, problems, problemAt: () => undefined };
  const { file, variables } = input;
  const source: Source = { file, document, lines, variables, problems };
  const root = new Value(source, document.contents, '', null);
  const names = readTop(root, spec, input);
  const problemAt = (path: string, message: string): Problem | undefined => {
    const found: Problem[] = [];
    const again = new Value({ ...source, problems: found }, document.contents, '', null);
    findPlace(again, names, path)?.problem(message);
    return found[0];
  };
  return { spec, problems, problemAt };
}

/** @returns the names in the file of what it adds to the spec */
function readTop(root: Value, spec: StackSpec, input: StackFile): PartNames {
  if (!root.isMap) {
    root.problem('a compose file is a map with "services:" at the top');
    return { services: [], networks: [] };
  }
  const networks = new Map<string, StackNetwork>();
  const volumes = new Map<string, string>();
  const services: [string, Value][] = [];
  root.fields(
    {
      name: (v) => void v.string(),
      version: () => undefined, // obsolete in the compose specification: accepted, not read
      services: (v) => services.push(...v.entries()),
      networks: (v) => {
        for (const [name, item] of v.entries())
          networks.set(name, readNetwork(spec.name, name, item));
      },
      volumes: (v) => {
        for (const [name, item] of v.entries())
          volumes.set(name, readVolume(spec.name, name, item));
      },
    },
    ['secrets', 'configs', 'include', 'models'],
  );
  if (services.length === 0) root.problem('declares no services');
  const used = new Set<string>();
  const declared = new Set(services.map(([name]) => name));
  const scope = scopeOf(spec.name, input, { networks, volumes, declared, used });
  for (const [name, value] of services) {
    if (!/^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$/i.test(name)) {
      value.problem(
        `"${name}" is not a service name: letters, digits, "-" and "_", at most 63 characters`,
      );
    }
    const service = readService(name, value, scope);
    service.labels[STACK_LABEL] = spec.name;
    service.taskTemplate.containerSpec.labels[STACK_LABEL] = spec.name;
    spec.services.push(service);
  }
  const own = [...networks].filter(
    ([name, { external }]) => !external && (used.has(name) || name !== 'default'),
  );
  for (const [, { external: _, ...network }] of own) spec.networks.push(network);
  return { services: [...declared], networks: own.map(([name]) => name) };
}

interface TopLevel {
  networks: Map<string, StackNetwork>;
  volumes: ReadonlyMap<string, string>;
  /** Names of the services. */
  declared: ReadonlySet<string>;
  /** Networks that a service named. */
  used: Set<string>;
}

function scopeOf(stack: string, input: StackFile, top: TopLevel): ServiceScope {
  return {
    stack,
    baseDir: input.baseDir,
    variables: input.variables,
    networkName: (name, at) => {
      if (name === 'default' && !top.networks.has(name)) {
        top.networks.set(name, readNetwork(stack, name, undefined));
      }
      top.used.add(name);
      const network = top.networks.get(name);
      if (network !== undefined) return network.name;
      at.problem(`network "${name}" is not declared under "networks:" of this file`);
      return name;
    },
    serviceName: (name) => (top.declared.has(name) ? `${stack}_${name}` : name),
    volumeName: (name, at) => {
      const volume = top.volumes.get(name);
      if (volume !== undefined) return volume;
      at.problem(`volume "${name}" is not declared under "volumes:" of this file`);
      return name;
    },
    readEnvFile: (path, at) => {
      try {
        return input.readEnvFile(path);
      } catch (error) {
        at.problem(error instanceof Error ? error.message : String(error));
        return [];
      }
    },
  };
}

function readVolume(stack: string, key: string, value: Value): string {
  const own: { name?: string | undefined; external: boolean } = { external: false };
  if (!value.isNull) {
    value.fields(
      {
        name: (v) => (own.name = v.string()),
        external: (v) => (own.external = v.boolean() ?? false),
        driver: (v) => void v.oneOf(['local']),
        labels: (v) => void definedOf(v),
      },
      ['driver_opts'],
    );
  }
  return fullName(stack, key, own);
}

/** "compose.yaml:12:7: services.web.imagee: unknown key …", one line for each mistake. */
export function formatProblems(problems: readonly Problem[]): string {
  return [...problems]
    .sort((a, b) => a.line - b.line || a.column - b.column)
    .map(
      (p) => `${p.file}:${p.line}:${p.column}: ${p.path === '' ? '' : `${p.path}: `}${p.message}`,
    )
    .join('\n');
}
