import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { LocalFolder } from '../queries/export/local-folder.ts';
import { keptFolder } from './support/temporary-folder.ts';

const { folder, remove } = keptFolder();
const PATH = 'spans/date=2026-01-31/hour=05/node=a/1.parquet';
const MEMORY_FOLDER = '/dev/shm';

afterAll(remove);

function stage(text: string): string {
  const staged = join(folder, 'staged');
  writeFileSync(staged, text);
  return staged;
}

async function putTwice(destination: string): Promise<void> {
  const store = new LocalFolder(destination);
  const final = join(destination, PATH);
  mkdirSync(dirname(final), { recursive: true });
  writeFileSync(join(dirname(final), '.1.parquet.part'), 'half of it, of a process that was killed');
  await store.put(stage('whole'), PATH);
  expect(readFileSync(final, 'utf8')).toBe('whole');
  await store.put(stage('whole'), PATH);
  rmSync(join(folder, 'staged'));
  expect(readFileSync(final, 'utf8')).toBe('whole');
  expect(readdirSync(dirname(final))).toEqual(['1.parquet']);
}

test('a file of the same file system is there without a copy, again and again', async () => {
  const destination = join(folder, 'near');
  await putTwice(destination);
  await new LocalFolder(destination).put(stage('new'), PATH);
  expect(statSync(join(destination, PATH)).ino).toBe(statSync(join(folder, 'staged')).ino);
});

test('one of another file system is copied', async ({ skip }) => {
  if (!existsSync(MEMORY_FOLDER) || statSync(MEMORY_FOLDER).dev === statSync(folder).dev) {
    console.log(`skipped: ${MEMORY_FOLDER} is no other file system`);
    skip();
  }
  const destination = mkdtempSync(join(MEMORY_FOLDER, 'tracehouse-'));
  try {
    await putTwice(destination);
  } finally {
    rmSync(destination, { recursive: true });
  }
});
