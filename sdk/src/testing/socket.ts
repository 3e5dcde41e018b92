// A WebSocket whose other end is the fake cluster, for tests of a whole client.

import type { SocketConstructor } from "../host.js";
import type { FakeCluster, FakeLink } from "./cluster.js";

/** Sockets that were opened, and the constructor to hand to the client. */
export interface FakeSockets {
  WebSocket: SocketConstructor;
  /** Connections that are open now. */
  open(): number;
  /** All connections that were ever opened. */
  opened(): number;
  /** Ends every connection, as a node that dies does. */
  cut(code?: number): void;
  /** The page of these sockets is gone: they are silent from now on, in both directions. */
  kill(): void;
}

export function fakeSockets(cluster: FakeCluster): FakeSockets {
  const links = new Set<FakeLink>();
  let opened = 0;
  let dead = false;

  class FakeSocket {
    onopen: (() => void) | null = null;
    onmessage: ((event: { data: string }) => void) | null = null;
    onclose: ((event: { code: number; reason: string }) => void) | null = null;
    onerror: (() => void) | null = null;
    private readonly link = cluster.connect();
    private scheduled = false;

    constructor() {
      opened++;
      links.add(this.link);
      this.link.changed = () => this.schedule();
      this.schedule();
    }

    send(text: string): void {
      // Later, as on a network: the sender's own step ends first.
      setTimeout(() => {
        if (!dead) this.link.receive(text);
      });
    }

    close(): void {
      links.delete(this.link);
      this.link.changed = () => {};
      this.link.close(1000);
    }

    private schedule(): void {
      if (this.scheduled) return;
      this.scheduled = true;
      setTimeout(() => this.pump());
    }

    private pump(): void {
      this.scheduled = false;
      if (dead) return;
      for (const queue of [this.link.control, this.link.answers, this.link.events]) {
        for (let data = queue.shift(); data !== undefined; data = queue.shift()) this.onmessage?.({ data });
      }
      if (this.link.closed === undefined) return;
      links.delete(this.link);
      this.onclose?.({ code: this.link.closed, reason: "" });
    }
  }

  return {
    WebSocket: FakeSocket as unknown as SocketConstructor,
    open: () => links.size,
    opened: () => opened,
    cut: (code = 1006) => {
      for (const link of [...links]) link.close(code);
    },
    kill: () => {
      dead = true;
      for (const link of [...links]) link.close(1006);
      links.clear();
    },
  };
}
