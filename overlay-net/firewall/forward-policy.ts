import type { Logger } from '../../common/logger.js';
import type { Checkable, Repair } from '../core/drift.js';
import { planForward, type ForeignChain, type ForwardChange } from '../core/foreign-forward.js';

/** A table of another program. */
export interface ForeignTable {
  /** "ip filter" */
  name: string;
  /** Its base chain for forwarded packets. */
  base: ForeignChain;
  user: ForeignChain | undefined;
}

/** A kind of tables that other programs have. */
export interface ForeignTables {
  read(): Promise<ForeignTable[]>;
  change(table: ForeignTable, change: ForwardChange): Promise<void>;
}

/**
 * Keeps accept rules for our bridges in other programs' tables that would refuse what they forward.
 * Nothing else of those tables is touched.
 */
export class ForwardPolicy implements Checkable {
  readonly part = 'forward policy';
  readonly #kinds: readonly ForeignTables[];
  readonly #logger: Logger;
  #isActive = false;

  /** @param kinds none: the tables of others are left alone */
  constructor(kinds: readonly ForeignTables[], modules: { logger: Logger }) {
    this.#kinds = kinds;
    this.#logger = modules.logger;
  }

  async isSuspect(): Promise<boolean> {
    return this.#isActive && (await this.#changes()).length > 0;
  }

  async repair(): Promise<Repair[]> {
    const repairs: Repair[] = [];
    for (const { kind, table, change } of await this.#changes()) {
      await kind.change(table, change);
      const isAdded = change.added !== undefined;
      const chain = change.added?.chain ?? table.base.name;
      const what = `rules for the networks in ${table.name} ${chain}`;
      repairs.push({ change: isAdded ? 'added' : 'removed', what });
    }
    return repairs;
  }

  /** Lets the networks' traffic pass from now on; a failure is told, and mended by the next check. */
  async start(): Promise<void> {
    if (this.#isActive) return;
    this.#isActive = true;
    try {
      for (const { change, what } of await this.repair()) {
        this.#logger.info('Changed what other programs forward', { change, what });
      }
    } catch (error) {
      this.#logger.warn('Could not see to what other programs forward', {}, error);
    }
  }

  /** Takes our rules out of the tables of others. */
  async remove(): Promise<void> {
    this.#isActive = false;
    for (const kind of this.#kinds) {
      for (const table of await kind.read()) {
        const { base, user } = table;
        // a chain that accepts all needs no rule of ours
        const change = planForward({ ...base, policy: 'accept', rules: withoutEnd(base) }, user);
        if (change.removed.length > 0) await kind.change(table, change);
      }
    }
  }

  async #changes(): Promise<{ kind: ForeignTables; table: ForeignTable; change: ForwardChange }[]> {
    const changes = [];
    for (const kind of this.#kinds) {
      for (const table of await kind.read()) {
        const change = planForward(table.base, table.user);
        if (change.removed.length > 0 || change.added !== undefined) {
          changes.push({ kind, table, change });
        }
      }
    }
    return changes;
  }
}

function withoutEnd({ rules }: ForeignChain): ForeignChain['rules'] {
  return rules.map(({ verdict: _, ...rule }) => rule);
}
