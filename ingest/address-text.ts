// IP addresses and thread names, bytes to text, remembered: the same few come with every event.
import { utf8 } from './record-fields.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const MOST_REMEMBERED = 4096;

/** RFC 5952; an IPv4-mapped address as IPv4. */
export function ipv6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[i * 2] as number) << 8) | (bytes[i * 2 + 1] as number));
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) return bytes.subarray(12, 16).join('.');
  let best = -1;
  let best_length = 1;
  for (let i = 0; i < 8; i += 1) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length += 1;
    if (length > best_length) [best, best_length] = [i, length];
  }
  const text = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  return best < 0 ? text(groups) : `${text(groups.slice(0, best))}::${text(groups.slice(best + best_length))}`;
}

/** Sixteen bytes -> text, by an open table on their four words. */
class WordTexts {
  readonly #keys = new Int32Array(MOST_REMEMBERED * 2 * 4);
  #texts: (string | undefined)[] = [];
  #count = 0;
  readonly #make: (bytes: Uint8Array) => string;

  constructor(make: (bytes: Uint8Array) => string) {
    this.#make = make;
  }

  get(words: Int32Array, at: number): string {
    const a = words[at] as number;
    const b = words[at + 1] as number;
    const c = words[at + 2] as number;
    const d = words[at + 3] as number;
    const keys = this.#keys;
    const mask = MOST_REMEMBERED * 2 - 1;
    let hash = Math.imul(a ^ Math.imul(b, 0x85ebca6b) ^ Math.imul(c, 0xc2b2ae35) ^ Math.imul(d, 0x27d4eb2f), 0x9e3779b1);
    hash ^= hash >>> 15;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      const found = this.#texts[slot];
      const key = slot * 4;
      if (found !== undefined) {
        if (keys[key] === a && keys[key + 1] === b && keys[key + 2] === c && keys[key + 3] === d) return found;
        continue;
      }
      if (this.#count >= MOST_REMEMBERED) {
        this.#texts = [];
        this.#count = 0;
      }
      const text = this.#make(new Uint8Array(words.slice(at, at + 4).buffer));
      keys[key] = a;
      keys[key + 1] = b;
      keys[key + 2] = c;
      keys[key + 3] = d;
      this.#texts[slot] = text;
      this.#count += 1;
      return text;
    }
  }
}

export class AddressTexts {
  readonly #v4 = new Map<number, string>();
  readonly #v6 = new WordTexts(ipv6Text);
  readonly #names = new WordTexts(utf8);

  /** Null for a family without addresses. */
  ip(family: number, words: Int32Array, at: number): string | null {
    if (family === AF_INET6) return this.#v6.get(words, at);
    if (family !== AF_INET) return null;
    const word = words[at] as number;
    let text = this.#v4.get(word);
    if (text === undefined) {
      if (this.#v4.size >= MOST_REMEMBERED) this.#v4.clear();
      text = `${word & 255}.${(word >>> 8) & 255}.${(word >>> 16) & 255}.${word >>> 24}`;
      this.#v4.set(word, text);
    }
    return text;
  }

  /** The 16 bytes of a thread's name. */
  name(words: Int32Array, at: number): string {
    return this.#names.get(words, at);
  }
}
