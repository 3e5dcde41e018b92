// Waits on conditions. A deadline is generous: the machine may be busy, and a wait ends with its condition.

export const DEADLINE_MS = 60_000;

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Error of a wait. `what`: its condition in words, or a function that returns them. */
const late = (what, ms) => new Error(`not within ${ms} ms: ${typeof what === "function" ? what() : what}`);

/** Resolves with the first truthy value of `condition`, which is tried again and again. */
export async function until(what, condition, deadlineMs = DEADLINE_MS) {
  const end = Date.now() + deadlineMs;
  for (;;) {
    // A condition that asks a silent peer never ends by itself.
    const value = await within(what, condition(), deadlineMs, end - Date.now());
    if (value) return value;
    if (Date.now() > end) throw late(what, deadlineMs);
    await pause(20);
  }
}

/** Resolves as the promise does, and rejects after the deadline. */
export async function within(what, promise, deadlineMs = DEADLINE_MS, leftMs = deadlineMs) {
  let timer;
  const deadline = new Promise((_, reject) => {
    timer = setTimeout(() => reject(late(what, deadlineMs)), Math.max(leftMs, 1));
  });
  try {
    return await Promise.race([promise, deadline]);
  } finally {
    clearTimeout(timer);
  }
}
