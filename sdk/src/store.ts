// The store: key-value, with atomic batches. The core has the one in memory; `@rookery/client/indexeddb` has a durable one.

/** One write of a batch. `drop` removes every key that begins with the prefix. */
export type StoreOp = { put: string; value: unknown } | { del: string } | { drop: string };

/** Storage of the client's state. Values are plain data (structured clone). Any method may reject; the client then goes on in memory. */
export interface Store {
  load(key: string): Promise<unknown>;
  put(key: string, value: unknown): Promise<void>;
  del(key: string): Promise<void>;
  /** Returns the entries whose keys begin with the prefix, in the order of the keys. */
  list(prefix: string): Promise<[string, unknown][]>;
  /** Applies all writes or none. */
  tx(ops: readonly StoreOp[]): Promise<void>;
  clear(): Promise<void>;
  close(): Promise<void>;
  /** True if the content survives the end of the page or process. */
  readonly durable: boolean;
}

/** A store that lives as long as the object. */
export function memory(): Store {
  const entries = new Map<string, unknown>();
  const apply = (op: StoreOp) => {
    if ("put" in op) entries.set(op.put, op.value);
    else if ("del" in op) entries.delete(op.del);
    else for (const key of [...entries.keys()]) if (key.startsWith(op.drop)) entries.delete(key);
  };
  return {
    durable: false,
    load: async (key) => entries.get(key),
    put: async (key, value) => apply({ put: key, value }),
    del: async (key) => apply({ del: key }),
    list: async (prefix) => [...entries].filter(([key]) => key.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1)),
    tx: async (ops) => ops.forEach(apply),
    clear: async () => entries.clear(),
    close: async () => {},
  };
}
