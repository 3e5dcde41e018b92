// Reader of server-sent events by fetch: unlike `EventSource` it sends the token in a header.

/** The data of the whole events at the beginning of a text, and the rest behind them. */
export function eventsIn(text: string): { data: string[]; rest: string } {
  const events = text.split("\n\n");
  const rest = events.pop() ?? "";
  const dataOf = (event: string) =>
    event
      .split("\n")
      .filter((line) => line.startsWith("data:"))
      .map((line) => line.slice(5).trimStart())
      .join("\n");
  return { data: events.map(dataOf).filter((data) => data !== ""), rest };
}

/** Calls `take` with the data of each event. Ends with the stream, and fails where it breaks or is silent for too long. */
export async function readEvents(body: ReadableStream<Uint8Array>, silenceMs: number, take: (data: string) => void): Promise<void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const silence = new Promise<never>((_, fail) => {
      timer = setTimeout(() => fail(new Error("silent")), silenceMs);
    });
    try {
      const { done, value } = await Promise.race([reader.read(), silence]);
      if (done) return;
      const { data, rest } = eventsIn(text + decoder.decode(value, { stream: true }));
      text = rest;
      data.forEach(take);
    } catch (error) {
      // The other end learns of it: a stream that nobody reads takes the place of another one.
      void reader.cancel().catch(() => undefined);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }
}
