// IP addresses and thread names, bytes to text, remembered and numbered: the same few come with every event.
import { utf8 } from './record-fields.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const MOST_REMEMBERED = 8192;
const FEWEST_SLOTS = 1024;

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

/** Sixteen bytes -> number, by an open table on their four words. */
class NumberedWords {
  #keys = new Int32Array(FEWEST_SLOTS * 4);
  /** One more than the number; 0 = the slot is free. */
  #numbers = new Int32Array(FEWEST_SLOTS);
  #count = 0;
  readonly #make: (bytes: Uint8Array) => number;

  constructor(make: (bytes: Uint8Array) => number) {
    this.#make = make;
  }

  get(words: Int32Array, at: number): number {
    const slot = this.#slot(words, at);
    const known = this.#numbers[slot] as number;
    if (known > 0) return known - 1;
    const number = this.#make(new Uint8Array(words.slice(at, at + 4).buffer));
    this.#keys.set(words.subarray(at, at + 4), slot * 4);
    this.#numbers[slot] = number + 1;
    this.#count += 1;
    if (this.#count * 2 > this.#numbers.length) this.#grow();
    return number;
  }

  forget(): void {
    this.#keys = new Int32Array(FEWEST_SLOTS * 4);
    this.#numbers = new Int32Array(FEWEST_SLOTS);
    this.#count = 0;
  }

  /** Where these words are, or where they go. */
  #slot(words: Int32Array, at: number): number {
    const a = words[at] as number;
    const b = words[at + 1] as number;
    const c = words[at + 2] as number;
    const d = words[at + 3] as number;
    const keys = this.#keys;
    const mask = this.#numbers.length - 1;
    let hash = Math.imul(a ^ Math.imul(b, 0x85ebca6b) ^ Math.imul(c, 0xc2b2ae35) ^ Math.imul(d, 0x27d4eb2f), 0x9e3779b1);
    hash ^= hash >>> 15;
    for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
      if (this.#numbers[slot] === 0) return slot;
      const key = slot * 4;
      if (keys[key] === a && keys[key + 1] === b && keys[key + 2] === c && keys[key + 3] === d) return slot;
    }
  }

  #grow(): void {
    const [keys, numbers] = [this.#keys, this.#numbers];
    this.#keys = new Int32Array(keys.length * 2);
    this.#numbers = new Int32Array(numbers.length * 2);
    for (let from = 0; from < numbers.length; from += 1) {
      if (numbers[from] === 0) continue;
      const slot = this.#slot(keys, from * 4);
      this.#keys.set(keys.subarray(from * 4, from * 4 + 4), slot * 4);
      this.#numbers[slot] = numbers[from] as number;
    }
  }
}

/** Numbers hold until forgetMany. */
export class AddressTexts {
  /** By number. */
  readonly texts: string[] = [];
  readonly #v4 = new Map<number, number>();
  readonly #v6 = new NumberedWords((bytes) => this.#number(ipv6Text(bytes)));
  readonly #names = new NumberedWords((bytes) => this.#number(utf8(bytes)));

  /** -1 for a family without addresses. */
  ip(family: number, words: Int32Array, at: number): number {
    if (family === AF_INET6) return this.#v6.get(words, at);
    if (family !== AF_INET) return -1;
    const word = words[at] as number;
    let number = this.#v4.get(word);
    if (number === undefined) {
      number = this.#number(`${word & 255}.${(word >>> 8) & 255}.${(word >>> 16) & 255}.${word >>> 24}`);
      this.#v4.set(word, number);
    }
    return number;
  }

  /** The 16 bytes of a thread's name. */
  name(words: Int32Array, at: number): number {
    return this.#names.get(words, at);
  }

  /** Between batches: no column knows a number then. */
  forgetMany(): void {
    if (this.texts.length <= MOST_REMEMBERED) return;
    this.texts.length = 0;
    this.#v4.clear();
    this.#v6.forget();
    this.#names.forget();
  }

  #number(text: string): number {
    this.texts.push(text);
    return this.texts.length - 1;
  }
}
