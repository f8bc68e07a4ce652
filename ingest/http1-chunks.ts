// Transfer-Encoding: chunked. Sizes are read where they were captured, data is skipped by stream offset.
import type { SocketEvent } from './socket-event.ts';
import type { Side } from './socket-state.ts';

const SIZE = 0;
const EXTENSION = 1;
const DATA = 2;
/** Start of a trailer line. */
const TRAILER = 3;
const TRAILER_REST = 4;

const CR = 13;
const LF = 10;
const MOST_CHUNK = 2 ** 48;

export type ChunkStep = 'more' | 'end' | 'lost';

export function beginChunks(side: Side): void {
  side.chunk_state = SIZE;
  side.chunk_size = 0;
}

/** Is the part of the stream up to `to` data of a chunk whose end is known? */
export function withinChunk(side: Side, to: number): boolean {
  return side.chunk_state === DATA && to <= side.until;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

export class ChunkReader {
  /** Stream offset up to which the last call read. */
  at = 0;

  /** 'more' = all of the event belongs to the body; 'end' = it ends at this.at; 'lost' = from this.at on sizes are unknown. */
  read(side: Side, event: SocketEvent, from: number): ChunkStep {
    let at = from;
    for (;;) {
      if (side.chunk_state === DATA) {
        if (side.until > event.end) {
          this.at = event.end;
          return 'more';
        }
        at = Math.max(at, side.until);
        beginChunks(side);
      }
      if (at >= event.end) {
        this.at = event.end;
        return 'more';
      }
      if (at >= event.captured_end) {
        this.at = at;
        return 'lost';
      }
      const byte = event.bytes[event.origin + at] as number;
      at += 1;
      switch (side.chunk_state) {
        case SIZE: {
          const digit = hexDigit(byte);
          if (digit >= 0) {
            side.chunk_size = side.chunk_size * 16 + digit;
            if (side.chunk_size > MOST_CHUNK) {
              this.at = at;
              return 'lost';
            }
          } else if (byte === LF) {
            this.#sizeRead(side, at);
          } else {
            side.chunk_state = EXTENSION;
          }
          break;
        }
        case EXTENSION:
          if (byte === LF) this.#sizeRead(side, at);
          break;
        case TRAILER:
          if (byte === LF) {
            this.at = at;
            return 'end';
          }
          if (byte !== CR) side.chunk_state = TRAILER_REST;
          break;
        case TRAILER_REST:
          if (byte === LF) side.chunk_state = TRAILER;
          break;
      }
    }
  }

  #sizeRead(side: Side, at: number): void {
    if (side.chunk_size === 0) {
      side.chunk_state = TRAILER;
    } else {
      side.chunk_state = DATA;
      side.until = at + side.chunk_size + 2;
    }
  }
}

const END = [CR, LF, 0x30, CR, LF, CR, LF];

/** Adds the last bytes of an event to what is known of the stream's latest bytes. */
export function rollTail(side: Side, event: SocketEvent): void {
  const { tail } = side;
  if (event.size < 8) tail.copyWithin(0, event.size);
  const known = event.lastBytes(tail);
  if (known >= Math.min(8, event.size)) side.tail_length = Math.min(8, (event.size < 8 ? side.tail_length : 0) + known);
  else side.tail_length = known;
}

function endsWith(side: Side, bytes: readonly number[], from: number): boolean {
  const length = bytes.length - from;
  if (side.tail_length < length) return false;
  for (let i = 0; i < length; i += 1) if (side.tail[8 - length + i] !== bytes[from + i]) return false;
  return true;
}

/** The stream up to here ends as a chunked body does. A call of exactly '0 CR LF CR LF' counts, whatever was before it. */
export function endsChunks(side: Side, event: SocketEvent): boolean {
  return endsWith(side, END, 0) || ((event.size === 5 || side.tail_length === 5) && endsWith(side, END, 2));
}

/** The stream up to here ends with an empty line. */
export function endsHead(side: Side): boolean {
  return endsWith(side, END, 3);
}
