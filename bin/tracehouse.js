#!/usr/bin/env node
// Started by bin/tracehouse, which says how. Plain JavaScript so that it starts on any Node.js: what it starts is compiled.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import v8 from 'node:v8';

const [major, minor] = process.versions.node.split('.').map(Number);
const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
if (major < 20 || (major === 20 && minor < 10)) {
  console.error(`tracehouse: Node.js ${process.versions.node} is too old: 20.10 or later is needed`);
  process.exit(1);
}
if (!existsSync(main)) {
  console.error('tracehouse: not built yet: run `npm run setup`');
  process.exit(1);
}
// The allocator is for this process: not for the loader, nor for programs that it starts. What is said to DuckDB's stays, as it is read later.
for (const name of process.env.TRACEHOUSE_ALLOCATOR?.split(' ') ?? []) delete process.env[name];
// What `collect` makes anew dies young and is little: room for it to grow into is 30 MiB that a node would not get back.
// So little that waking other threads for it costs more than it takes.
if (process.argv[2] === 'collect') {
  v8.setFlagsFromString('--semi-space-growth-factor=1');
  v8.setFlagsFromString('--no-parallel-scavenge');
}
await import(main);
