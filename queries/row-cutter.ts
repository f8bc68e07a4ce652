// Where the first so many rows of a text end, as it comes by. A row is a line; in CSV a line break within quotes ends none.
const [NEWLINE, QUOTE] = [10, 34];
/** Lanes of a word count to 255. */
const MOST_IN_LANES = 255;

/** Line breaks, four bytes at a time: the text passes at a rate of gigabytes a second. */
function countNewlines(bytes: Uint8Array): number {
  const head = (4 - (bytes.byteOffset & 3)) & 3;
  if (bytes.byteLength < head) return bytes.reduce((sum, byte) => sum + (byte === NEWLINE ? 1 : 0), 0);
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + head, (bytes.byteLength - head) >> 2);
  let count = 0;
  for (let from = 0; from < words.length; from += MOST_IN_LANES) {
    const to = Math.min(from + MOST_IN_LANES, words.length);
    let lanes = 0;
    for (let at = from; at < to; at++) {
      const differs = (words[at] as number) ^ 0x0a0a0a0a;
      // The high bit of each byte that does not differ.
      const same = ~(((differs & 0x7f7f7f7f) + 0x7f7f7f7f) | differs | 0x7f7f7f7f);
      lanes = (lanes + (same >>> 7)) | 0;
    }
    count += (lanes & 0xff) + ((lanes >>> 8) & 0xff) + ((lanes >>> 16) & 0xff) + (lanes >>> 24);
  }
  for (let at = 0; at < head; at++) if (bytes[at] === NEWLINE) count += 1;
  for (let at = head + words.length * 4; at < bytes.byteLength; at++) if (bytes[at] === NEWLINE) count += 1;
  return count;
}

export class RowCutter {
  readonly #max_rows: number;
  readonly #has_quotes: boolean;
  #rows = 0;
  #in_quotes = false;
  #more = false;

  constructor(max_rows: number, { has_quotes }: { readonly has_quotes: boolean }) {
    this.#max_rows = max_rows;
    this.#has_quotes = has_quotes;
  }

  /** Whole rows so far, max_rows at most. */
  get rows(): number {
    return this.#rows;
  }

  /** There was text beyond them. */
  get more(): boolean {
    return this.#more;
  }

  /** How many of the bytes that come next belong to the rows. */
  take(bytes: Buffer): number {
    if (bytes.byteLength === 0) return 0;
    const plain = !this.#has_quotes || (!this.#in_quotes && !bytes.includes(QUOTE));
    if (plain) {
      const rows = countNewlines(bytes);
      if (this.#rows + rows < this.#max_rows) {
        this.#rows += rows;
        return bytes.byteLength;
      }
    }
    return this.#takeSlowly(bytes);
  }

  #takeSlowly(bytes: Buffer): number {
    for (let at = 0; at < bytes.byteLength; at++) {
      if (this.#rows === this.#max_rows) {
        this.#more = true;
        return at;
      }
      const byte = bytes[at];
      if (byte === QUOTE && this.#has_quotes) this.#in_quotes = !this.#in_quotes;
      else if (byte === NEWLINE && !this.#in_quotes) this.#rows += 1;
    }
    return bytes.byteLength;
  }
}
