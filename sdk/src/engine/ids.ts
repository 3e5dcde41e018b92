// Ids that a client makes itself: client message ids, and the ids of direct conversations.

const CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/** Returns a ULID: the time, then 80 random bits. */
export function ulid(now: number, random: () => number): string {
  let time = "";
  for (let rest = now, i = 0; i < 10; i++, rest = Math.floor(rest / 32)) time = CROCKFORD[rest % 32] + time;
  let tail = "";
  for (let i = 0; i < 16; i++) tail += CROCKFORD[Math.floor(random() * 32)];
  return time + tail;
}

/** Returns the id of the direct conversation of two users (protocol, section 1). */
export function directId(a: string, b: string): string {
  const [first, second] = a < b ? [a, b] : [b, a];
  const digest = sha256(`${first}\0${second}`);
  let bits = 0;
  let held = 0;
  let out = "";
  for (const byte of digest) {
    held = (held << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      out += "abcdefghijklmnopqrstuvwxyz234567"[(held >>> (bits - 5)) & 31];
      bits -= 5;
    }
    held &= 31;
  }
  return `d_${out.slice(0, 26)}`;
}

const primes = (count: number): number[] => {
  const found: number[] = [];
  for (let n = 2; found.length < count; n++) if (found.every((p) => n % p)) found.push(n);
  return found;
};
const fraction = (x: number) => ((x - Math.floor(x)) * 2 ** 32) | 0;

/** SHA-256 of ASCII text. WebCrypto is asynchronous, and absent where the page has no secure context. */
export function sha256(text: string): Uint8Array {
  const k = primes(64).map((p) => fraction(Math.cbrt(p)));
  const h = primes(8).map((p) => fraction(Math.sqrt(p)));
  const length = ((text.length + 72) >> 6) << 6;
  const data = new Uint8Array(length);
  for (let i = 0; i < text.length; i++) data[i] = text.charCodeAt(i);
  data[text.length] = 0x80;
  new DataView(data.buffer).setUint32(length - 4, text.length * 8);
  const view = new DataView(data.buffer);
  const w = new Int32Array(64);
  const rot = (x: number, n: number) => (x >>> n) | (x << (32 - n));
  for (let block = 0; block < length; block += 64) {
    for (let i = 0; i < 64; i++) {
      if (i < 16) w[i] = view.getInt32(block + i * 4);
      else {
        const x = w[i - 15] as number;
        const y = w[i - 2] as number;
        w[i] = (w[i - 16] as number) + (rot(x, 7) ^ rot(x, 18) ^ (x >>> 3)) + (w[i - 7] as number) + (rot(y, 17) ^ rot(y, 19) ^ (y >>> 10));
      }
    }
    let [a, b, c, d, e, f, g, i] = h as [number, number, number, number, number, number, number, number];
    for (let r = 0; r < 64; r++) {
      const t1 = (i + (rot(e, 6) ^ rot(e, 11) ^ rot(e, 25)) + ((e & f) ^ (~e & g)) + (k[r] as number) + (w[r] as number)) | 0;
      const t2 = ((rot(a, 2) ^ rot(a, 13) ^ rot(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      [i, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
    }
    [a, b, c, d, e, f, g, i].forEach((x, at) => {
      h[at] = ((h[at] as number) + x) | 0;
    });
  }
  const out = new DataView(new ArrayBuffer(32));
  h.forEach((x, at) => {
    out.setInt32(at * 4, x);
  });
  return new Uint8Array(out.buffer);
}
