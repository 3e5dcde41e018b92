// Web Locks and channels between tabs of one browser, for tests under Node.

import type { Channel, Locks } from "../../src/tabs.js";

/** One lock per name, in the order of the requests. */
export class FakeLocks implements Locks {
  private readonly queues = new Map<string, (() => Promise<void>)[]>();
  private epoch = 0;

  request(name: string, { signal }: { signal: AbortSignal }, held: () => Promise<void>): Promise<void> {
    return new Promise((resolve, reject) => {
      const queue = this.queues.get(name) ?? [];
      this.queues.set(name, queue);
      const run = async () => {
        const { epoch } = this;
        await Promise.race([held(), new Promise((end) => this.killed.push(() => end(undefined)))]);
        resolve();
        if (epoch === this.epoch || queue[0] === run) this.next(queue, run);
      };
      signal.addEventListener("abort", () => {
        if (queue.indexOf(run) > 0) {
          queue.splice(queue.indexOf(run), 1);
          reject(signal.reason);
        }
      });
      queue.push(run);
      if (queue.length === 1) void run();
    });
  }

  private killed: (() => void)[] = [];

  /** The tab that holds a lock is gone. */
  kill(): void {
    this.epoch++;
    for (const end of this.killed.splice(0)) end();
  }

  private next(queue: (() => Promise<void>)[], ended: () => Promise<void>): void {
    if (queue[0] === ended) queue.shift();
    void queue[0]?.();
  }
}

/** Channels that deliver copies, later, to all others of the name. */
export class FakeTabs {
  private channels: (Channel & { name: string })[] = [];

  channel(name: string): Channel {
    const own: Channel & { name: string } = {
      name,
      onmessage: null,
      postMessage: (message) => {
        if (!this.channels.includes(own)) return;
        const copy = structuredClone(message);
        for (const other of this.channels) {
          if (other === own || other.name !== name) continue;
          setTimeout(() => (other.onmessage as ((event: { data: unknown }) => void) | null)?.({ data: copy }));
        }
      },
      close: () => {
        this.channels = this.channels.filter((it) => it !== own);
      },
    };
    this.channels.push(own);
    return own;
  }

  /** The first tab is gone. */
  kill(): void {
    const [first] = this.channels.splice(0, 1);
    if (first) first.onmessage = null;
  }
}
