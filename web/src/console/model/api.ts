// Requests to the admin API of the node that served the page. The token is in the storage of the tab, and goes into a
// header: never into an address, which logs and histories keep.

import { signal } from "@preact/signals";

const STORED = "rookery.admin-token";
/** Milliseconds after which a request has failed: the overview waits half a second for silent nodes. */
const PATIENCE_MS = 10_000;

const token = signal(sessionStorage.getItem(STORED) ?? "");
/** The refusal for which the page asks for a token; undefined while it needs none. */
export const refusal = signal<ApiError | undefined>(undefined);
export const hasToken = (): boolean => token.value !== "";

export class ApiError extends Error {
  constructor(
    /** 0 without an answer. */
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

export function setToken(text: string): void {
  token.value = text;
  if (text) sessionStorage.setItem(STORED, text);
  else sessionStorage.removeItem(STORED);
  refusal.value = undefined;
}

/** Calls back with each change of the token, and once at the beginning. */
export function onToken(changed: () => void): void {
  token.subscribe(changed);
}

/** Reads a resource. A missing, unknown or insufficient token makes the page ask for one. */
export async function read<T>(path: string): Promise<T> {
  const used = token.peek();
  try {
    return await (await request("GET", path)).json();
  } catch (error) {
    // The answer to a former token says nothing about the present one.
    if (error instanceof ApiError && [401, 403].includes(error.status) && used === token.peek()) refusal.value = error;
    throw error;
  }
}

/**
 * Opens a stream of events. It ends by `signal`, and fails as a request does; what the token permits is the matter of the
 * requests beside it.
 */
export async function open(path: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
  const { body } = await request("GET", path, signal);
  if (!body) throw new ApiError(0, "network", "");
  return body;
}

/** Makes a change. Its refusal is shown where it was asked for; only an unknown token is asked for again. */
export async function change(method: "POST" | "DELETE", path: string): Promise<void> {
  try {
    await request(method, path);
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) refusal.value = error;
    throw error;
  }
}

async function request(method: string, path: string, signal = AbortSignal.timeout(PATIENCE_MS)): Promise<Response> {
  const authorization = token.peek() && `Bearer ${token.peek()}`;
  let answer: Response;
  try {
    answer = await fetch(path, { method, headers: authorization ? { authorization } : {}, signal, cache: "no-store", credentials: "omit" });
  } catch {
    throw new ApiError(0, "network", "");
  }
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  throw new ApiError(answer.status, problem.code ?? String(answer.status), problem.detail ?? "");
}
