// The demo as a process of its own: says `netns NAME`, then goes on until its standard input ends or it is told to end.
import { TracehouseError } from '../schema/errors.ts';
import { startDemo } from './start-demo.ts';

const end = new Promise<void>((resolve) => {
  process.stdin.resume().once('close', resolve);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, resolve);
});

try {
  const demo = await startDemo({ log: (line) => console.log(line) });
  console.log(`netns ${demo.netns}`);
  await end;
  await demo.stop();
  process.exit(0);
} catch (error) {
  console.error(`demo: ${(error as Error).message}${error instanceof TracehouseError && error.mend !== undefined ? ` (${error.mend})` : ''}`);
  process.exit(1);
}
