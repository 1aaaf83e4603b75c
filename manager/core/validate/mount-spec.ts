import { isTemplate } from '../../../common/template/task-templates.js';
import {
  MountType,
  type BindOptions,
  type Mount,
  type TmpfsOptions,
  type VolumeOptions,
} from '../../../proto/gen/hatoba/v1/types.js';
import { checkLabels } from './label-spec.js';
import { checkNotNegative, checkText, type Problems } from './problem.js';

const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$/;
const PROPAGATIONS = ['rprivate', 'private', 'rshared', 'shared', 'rslave', 'slave'];
/** Of Docker's driver "local". */
const DRIVER_OPTIONS = ['type', 'device', 'o'];
const MAX_MODE = 0o7777;

/** @param mounts with their templates expanded, as far as they can be */
export function checkMounts(mounts: readonly Mount[], problems: Problems): void {
  const targets = new Set<string>();
  mounts.forEach((mount, i) => {
    const at = problems.at(`mounts[${i}]`);
    checkSource(mount, at.at('source'));
    checkOptions(mount, at);
    const target = at.at('target');
    if (isTemplate(mount.target)) return; // which is wrong by itself
    const path = mount.target.replace(/\/+$/, '');
    target.require(
      path.startsWith('/'),
      mount.target.startsWith('/')
        ? 'nothing can be mounted over "/"'
        : `"${mount.target}" is not an absolute path`,
    );
    checkText(path, target);
    target.require(!targets.has(path), `"${mount.target}" is mounted twice`);
    targets.add(path);
  });
}

function checkSource({ type, source }: Mount, problems: Problems): void {
  if (isTemplate(source)) return;
  checkText(source, problems);
  switch (type) {
    case MountType.BIND:
      problems.require(source.startsWith('/'), `"${source}" is not an absolute path`);
      return;
    case MountType.VOLUME:
      problems.require(
        source === '' || VOLUME_NAME.test(source),
        `"${source}" is not a volume name`,
      );
      return;
    case MountType.TMPFS:
      problems.require(source === '', 'a tmpfs has no source');
  }
}

/** Options of one kind mean nothing to another. */
function checkOptions(mount: Mount, problems: Problems): void {
  const { type, bindOptions, volumeOptions, tmpfsOptions } = mount;
  if (bindOptions !== undefined) {
    const at = problems.at('bindOptions');
    if (type === MountType.BIND) checkBind(bindOptions, at);
    else at.add('only a bind mount has them');
  }
  if (volumeOptions !== undefined) {
    const at = problems.at('volumeOptions');
    if (type === MountType.VOLUME) checkVolume(volumeOptions, at);
    else at.add('only a volume has them');
  }
  if (tmpfsOptions !== undefined) {
    const at = problems.at('tmpfsOptions');
    if (type === MountType.TMPFS) checkTmpfs(tmpfsOptions, at);
    else at.add('only a tmpfs has them');
  }
}

function checkBind({ propagation }: BindOptions, problems: Problems): void {
  problems
    .at('propagation')
    .require(
      propagation === '' || PROPAGATIONS.includes(propagation),
      `"${propagation}" is none of ${PROPAGATIONS.join(', ')}`,
    );
}

function checkVolume({ driver, driverOpts, labels }: VolumeOptions, problems: Problems): void {
  if (driver !== '' && driver !== 'local') {
    const what = `there is no volume driver "${driver}": only "local" is known`;
    problems.at('driver').add(what, 'unimplemented');
  }
  for (const key of Object.keys(driverOpts)) {
    problems
      .at(`driverOpts.${key}`)
      .require(DRIVER_OPTIONS.includes(key), `is none of ${DRIVER_OPTIONS.join(', ')}`);
  }
  checkLabels(labels, problems.at('labels'));
}

function checkTmpfs(options: TmpfsOptions, problems: Problems): void {
  checkNotNegative(options, ['sizeBytes'], problems);
  const { mode } = options;
  problems
    .at('mode')
    .require(mode <= MAX_MODE, `${mode.toString(8)} is above ${MAX_MODE.toString(8)} (octal)`);
}
