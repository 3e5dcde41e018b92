// Observable values with stable snapshots, as `useSyncExternalStore` of React needs them.

/** A value that changes over time. `get` returns the same object until the value changes. */
export interface Live<T> {
  get(): T;
  /** Calls `fn` after each change; returns a function that ends the subscription. */
  subscribe(fn: () => void): () => void;
}

/** The writable side of a `Live`. It reports when its first subscriber comes and its last one goes. */
export class Cell<T> implements Live<T> {
  readonly #fns = new Set<() => void>();

  constructor(
    private value: T,
    private readonly watched: (on: boolean) => void = () => {},
  ) {}

  get(): T {
    return this.value;
  }

  set(value: T): void {
    if (value === this.value) return;
    this.value = value;
    for (const fn of [...this.#fns]) fn();
  }

  subscribe(fn: () => void): () => void {
    // Wrapped: the same function may subscribe twice, and each subscription ends by itself.
    const own = () => fn();
    this.#fns.add(own);
    if (this.#fns.size === 1) this.watched(true);
    return () => {
      if (this.#fns.delete(own) && this.#fns.size === 0) this.watched(false);
    };
  }
}
