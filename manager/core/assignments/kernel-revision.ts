/**
 * Which store revision the kernel of one connected node shows: not only the newest it has confirmed,
 * but also those after it that changed nothing for this node, of which it is not even told.
 */
export class KernelRevision {
  /** Of the newest message that changed the node's networks. */
  #sent = 0;
  /** The newest that the node's assignments were looked at for. */
  #looked = 0;
  #confirmed = 0;
  #value = 0;

  /** 0 = not known. */
  get value(): number {
    return this.#value;
  }

  /** The node's assignments are those of `revision`. To be called before the message goes out. */
  onLooked(revision: number, isNetworkChanged: boolean): void {
    if (isNetworkChanged) this.#sent = revision;
    this.#looked = revision;
    this.#update();
  }

  /** The node says so. */
  onConfirmed(revision: number): void {
    this.#confirmed = revision;
    this.#update();
  }

  #update(): void {
    const isUpToDate = this.#sent > 0 && this.#confirmed >= this.#sent;
    // What it may have confirmed of another manager's, this one has not seen yet.
    const shown = isUpToDate ? this.#looked : Math.min(this.#confirmed, this.#looked);
    this.#value = Math.max(this.#value, shown);
  }
}
