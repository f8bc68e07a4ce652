// Decoding an event calls a small function for each column of its rows, some eighty of them. V8 puts functions into their callers up to a
// budget of bytecode, which is used up long before; with four times as much decoding takes an eighth less or more (docs/benchmarks.md, Landing).
import { setFlagsFromString } from 'node:v8';

setFlagsFromString('--max-inlined-bytecode-size-cumulative=4000');
