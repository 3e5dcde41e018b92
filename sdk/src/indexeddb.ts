// The durable store of browsers. A browser may refuse it (private mode, a full disk): then every method rejects, and the
// client goes on in memory.

import type { Store, StoreOp } from "./store.js";

const TABLE = "entries";

/** A store in the IndexedDB database of this name; one per signed-in user if several may use one browser at a time. */
export function indexedDb({ name = "rookery", factory }: { name?: string; factory?: IDBFactory } = {}): Store {
  let opened: Promise<IDBDatabase> | undefined;

  const database = (): Promise<IDBDatabase> => {
    opened ??= new Promise<IDBDatabase>((resolve, reject) => {
      const request = (factory ?? indexedDB).open(name, 1);
      request.onupgradeneeded = () => request.result.createObjectStore(TABLE);
      request.onsuccess = () => {
        const db = request.result;
        // Another tab deletes the database or has a newer version: it must not wait for this one.
        db.onversionchange = () => db.close();
        // The browser closes a database that it evicts; the next use opens it again.
        db.onclose = () => {
          opened = undefined;
        };
        resolve(db);
      };
      request.onerror = () => reject(request.error);
      request.onblocked = () => reject(new Error("the database is blocked by another tab"));
    });
    opened.catch(() => {
      opened = undefined;
    });
    return opened;
  };

  /** Runs `work` in one transaction, and resolves when it is on disk. */
  const transaction = async <T>(mode: IDBTransactionMode, work: (table: IDBObjectStore) => IDBRequest<T> | undefined): Promise<T> => {
    const db = await database();
    return new Promise<T>((resolve, reject) => {
      const tx = db.transaction(TABLE, mode, { durability: "strict" });
      let request: IDBRequest<T> | undefined;
      try {
        request = work(tx.objectStore(TABLE));
      } catch (error) {
        // A value that cannot be stored: nothing of the batch may be.
        tx.abort();
        reject(error);
      }
      tx.oncomplete = () => resolve(request?.result as T);
      tx.onabort = tx.onerror = () => reject(tx.error ?? request?.error);
    });
  };

  const write = (ops: readonly StoreOp[]) =>
    transaction("readwrite", (table) => {
      for (const op of ops) {
        if ("put" in op) table.put(op.value, op.put);
        else table.delete("del" in op ? op.del : range(op.drop));
      }
      return undefined;
    }) as Promise<void>;

  return {
    durable: true,
    load: (key) => transaction("readonly", (table) => table.get(key)),
    put: (key, value) => write([{ put: key, value }]),
    del: (key) => write([{ del: key }]),
    list: async (prefix) => {
      const found: [string, unknown][] = [];
      await transaction("readonly", (table) => {
        const cursor = table.openCursor(range(prefix));
        cursor.onsuccess = () => {
          const at = cursor.result;
          if (!at) return;
          found.push([String(at.key), at.value]);
          at.continue();
        };
        return cursor;
      });
      return found;
    },
    tx: write,
    clear: () => write([{ drop: "" }]),
    close: async () => {
      const db = await opened?.catch(() => undefined);
      opened = undefined;
      db?.close();
    },
  };
}

function range(prefix: string): IDBKeyRange {
  return IDBKeyRange.bound(prefix, `${prefix}\uffff`);
}
