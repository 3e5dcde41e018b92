// What the node tells the page about itself and the cluster.

export interface PageConfig {
  /** Addresses of other nodes, for the time when this one is gone. */
  nodes: string[];
  dev_tokens: boolean;
  login: boolean;
  version: string;
}

export async function loadConfig(): Promise<PageConfig> {
  const answer = await fetch("/config.json");
  if (!answer.ok) throw new Error(`/config.json: ${answer.status}`);
  return answer.json();
}

/** Addresses of all nodes, that of the page first. */
export function addresses(config: PageConfig): string[] {
  return [location.origin, ...config.nodes.filter((node) => node !== location.origin)];
}

/** Asks the nodes in turn until one answers: the page outlives the node that served it. */
export async function fetchAny(nodes: readonly string[], path: string, init?: RequestInit): Promise<Response> {
  let failure: unknown;
  for (const node of nodes) {
    try {
      return await fetch(node + path, init);
    } catch (error) {
      if (init?.signal?.aborted) throw error;
      failure = error;
    }
  }
  throw failure;
}
