// A line between clients and a node that can be cut.

import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A line to the node that can be cut. */
export class Line {
  private readonly sockets = new Set<Socket>();
  private readonly server = createServer((near) => {
    if (this.cut) return near.destroy();
    const far = connect(Number(new URL(this.node).port), "127.0.0.1");
    this.sockets.add(near);
    near.on("close", () => this.sockets.delete(near));
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.pipe(to);
      from.on("error", () => to.destroy());
      from.on("close", () => to.destroy());
    }
    return undefined;
  });
  private cut = false;

  constructor(private readonly node: string) {}

  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** Connections that are open now. */
  get count(): number {
    return this.sockets.size;
  }

  offline(cut: boolean): void {
    this.cut = cut;
    if (cut) for (const socket of this.sockets) socket.destroy();
  }

  close(): void {
    this.offline(true);
    this.server.close();
  }
}
