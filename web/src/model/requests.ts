// Requests by HTTP, for what has no command on the connection.

import { ChatError, type RookeryOptions } from "@rookery/client";
import { fetchAny } from "./config.js";

type Token = RookeryOptions["token"];

export class Requests {
  private access: string | undefined;

  constructor(
    private readonly nodes: readonly string[],
    private readonly source: Token,
  ) {}

  /** The `token` option of the client: both use one token, so that neither ends that of the other. */
  readonly token: Token = async (request) => {
    this.access = await this.source(request);
    return this.access;
  };

  /** Reads a resource from any node. A refusal is thrown as `ChatError`. */
  async get<T>(path: string): Promise<T> {
    const { signal } = new AbortController();
    // A tab without the connection asks for a token by itself.
    const answer = await this.fetch(path, this.access ?? (await this.token({ reason: "first", signal })));
    if (answer.ok) return answer.json();
    const again = answer.status === 401 ? await this.fetch(path, await this.token({ reason: "refused", signal })) : answer;
    if (again.ok) return again.json();
    const { code, detail, retry_ms } = await again.json();
    throw new ChatError({ code, msg: detail, temp: retry_ms !== undefined });
  }

  private fetch(path: string, access: string): Promise<Response> {
    return fetchAny(this.nodes, path, { headers: { authorization: `Bearer ${access}` } });
  }
}
