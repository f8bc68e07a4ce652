// What came out of the guest, held to the same account as on a kernel with the newest tracepoints. Run by run.sh.
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readCapabilities } from '../../ingest/capabilities.ts';
import { CALL_CHECKS, movedBy, readCalls } from '../bpf/call-checks.ts';
import { FrameLog, hasFlag } from '../bpf/frame-log.ts';

const results = process.env['RESULTS'] ?? '';
const file = (...path: string[]): Buffer => readFileSync(join(results, ...path));
const lines = (...path: string[]): string[] => file(...path).toString().split('\n').filter(Boolean);

const [major = 0, minor = 0] = (lines('release')[0] ?? '').split('.').map(Number);
const HOOKS = {
  auto: major > 6 || (major === 6 && minor >= 3) ? /tracepoints sock_send_length/ : /fexit on tcp_sendmsg/,
  fexit: /fexit on tcp_sendmsg/,
  kprobe: /kprobe and kretprobe on tcp_sendmsg/,
} as const;

for (const [kind, hook] of Object.entries(HOOKS)) {
  describe(`${kind} hooks`, () => {
    const log = new FrameLog();
    log.push(file(kind, 'frames'));
    const pid = movedBy(log).find((event) => event.payload.toString('latin1').startsWith('0001'))?.pid;
    const own = new FrameLog();
    Object.assign(own, { events: log.events.filter((event) => event.netns === movedBy(log)[0]?.netns && eventOf(event.pid, event.socket_id)) });

    function eventOf(event_pid: number, socket_id: bigint): boolean {
      return event_pid === pid || log.events.some((one) => one.socket_id === socket_id && one.pid === pid);
    }

    test('the loader ran to an orderly end and said how it sees', () => {
      expect(lines(kind, 'errors')).toEqual([]);
      expect(lines(kind, 'code')).toEqual(['0']);
      expect(log.order[0]).toBe('hello');
      expect(log.order.at(-1)).toBe('bye');
      expect(log.hello?.kernel).toBe(lines('release')[0]);
      const found = readCapabilities(file(kind, 'probe'));
      expect(found.find((one) => one.name === 'socket reads and writes')?.hook).toMatch(hook);
      // Both kernels let programs hang on functions; kprobes go with tracepoints.
      expect(found.find((one) => one.name === 'close of Unix sockets')?.hook).toMatch(kind === 'kprobe' ? /sys_enter_close/ : /fentry on __x64_sys_close/);
      expect(found.filter((one) => !one.ok).map((one) => one.name)).toEqual(found.filter((one) => one.name === 'cgroup v2' && !one.ok).map((one) => one.name));
    });

    for (const [name, check] of Object.entries(CALL_CHECKS)) test(name, () => check(readCalls(lines(kind, 'calls')), movedBy(own), own));

    test('refused and reset connections say why', () => {
      expect(log.of('state').filter((event) => event.old_state === 2 && event.errno === 111 && event.remote_port === 1).length).toBe(1);
      expect(log.of('read').filter((event) => event.errno === 104).length).toBe(1);
    });

    test.skipIf(!existsSync(join(results, kind, 'tasks')))("a Go program's calls carry the goroutine that makes them", () => {
      const handler = BigInt(/^handler=(\d+)$/.exec(lines(kind, 'tasks')[0] ?? '')?.[1] ?? 0);
      const head = (start: string) => (event: { payload: Buffer }): boolean => event.payload.toString('latin1').startsWith(start);
      expect(handler).not.toBe(0n);
      expect(log.of('read').find(head('GET /sequential '))?.task_id).toBe(handler);
      for (const path of ['/one', '/two']) {
        expect(log.of('write').filter(head(`GET ${path} `)).map((event) => [event.task_id, hasFlag(event, 'task_of_caller')])).toEqual([[handler, true]]);
      }
    });

    test('a crowd of blocked readers loses no read', () => {
      const [, threads, pid_text] = (lines(kind, 'crowd')[0] ?? '').split(' ');
      const crowd = log.events.filter((event) => event.pid === Number(pid_text) && event.family === 2 && event.bytes > 0);
      expect(crowd.filter((event) => event.op === 3).length).toBe(Number(threads));
      expect(crowd.filter((event) => event.op === 4).length).toBe(Number(threads));
    });
  });
}
