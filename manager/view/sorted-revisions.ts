import type { ServiceRevision } from '../../common/model/objects.js';

const NONE: readonly ServiceRevision[] = Object.freeze([]);

/** Revisions by service, each list in order of number. A list handed out never changes. */
export class SortedRevisions {
  readonly #ofService = new Map<string, readonly ServiceRevision[]>();

  of(serviceId: string): readonly ServiceRevision[] {
    return this.#ofService.get(serviceId) ?? NONE;
  }

  put(revision: ServiceRevision): void {
    const others = this.#without(revision);
    const at = others.findIndex((r) => r.number > revision.number);
    const list = others.toSpliced(at < 0 ? others.length : at, 0, revision);
    this.#ofService.set(revision.serviceId, list);
  }

  remove(revision: ServiceRevision): void {
    const others = this.#without(revision);
    if (others.length > 0) this.#ofService.set(revision.serviceId, others);
    else this.#ofService.delete(revision.serviceId);
  }

  #without({ serviceId, number }: ServiceRevision): readonly ServiceRevision[] {
    return this.of(serviceId).filter((r) => r.number !== number);
  }
}
