// Connections that are older than the collector, that are refused, or that are reset; and both ends in two processes.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LoadProgram } from './load-program.ts';
import { hasFlag, type SocketEvent } from './frame-log.ts';
import { LoaderRun } from './loader-run.ts';
import { build } from './built.ts';
import { makeNetwork, type Network } from './network.ts';

describe('connections', () => {
  let network: Network;
  beforeAll(() => {
    build();
    network = makeNetwork();
  });
  afterAll(() => network.remove());

  test('older than the collector: found at start, with ids, roles and offsets as if seen from the beginning', async () => {
    const load = new LoadProgram(network.name, 'hold');
    await load.line('half');
    const run = await LoaderRun.start('--scope', `netns:${network.name}`);
    const told = run.of('exist');
    load.go();
    await load.line('done');
    await run.settled();
    await run.stop();
    await load.end();

    const held = load.lines.filter((line) => /^(held|half)/.test(line)).map((line) => line.split(' '));
    expect(told.map((event) => event.fd).sort()).toEqual(held.flatMap((word) => [Number(word[2]), Number(word[3])]).sort());
    for (const [kind, family, client_fd, server_fd] of held) {
      const client = told.find((event) => event.fd === Number(client_fd)) as SocketEvent;
      const server = told.find((event) => event.fd === Number(server_fd)) as SocketEvent;
      for (const event of [client, server]) {
        expect(hasFlag(event, 'preexisting')).toBe(true);
        expect(event.process_id).not.toBe(0n);
        expect(event.conn_id).not.toBe(0n);
      }
      expect(client.conn_id).toBe(server.conn_id);
      if (family !== 'unix') {
        expect([client.role, server.role]).toEqual([1, 2]);
        expect([client.local_port, client.remote_port]).toEqual([server.remote_port, server.local_port]);
        // 300 bytes from the client, 600 from the server; the half-closed one had the first only.
        expect([client.stream_offset, client.other_offset]).toEqual(kind === 'half' ? [300n, 0n] : [300n, 600n]);
        expect([server.stream_offset, server.other_offset]).toEqual(kind === 'half' ? [0n, 300n] : [600n, 300n]);
      }
    }
    const moved = [...run.of('write'), ...run.of('read')];
    expect(moved.length).toBe(14);
    const base = (event: SocketEvent): [bigint, bigint] => (event.family === 1 ? [0n, 0n] : [300n, 600n]);
    for (const event of moved.filter((one) => one.fd !== Number(held[3]?.[2]) && one.fd !== Number(held[3]?.[3]))) {
      const from_client = (event.op === 4) === held.some((word) => Number(word[2]) === event.fd);
      expect(event.stream_offset).toBe(base(event)[from_client ? 0 : 1]);
    }
    // After a FIN each way of the counting is off by one but for the correction.
    const half = moved.filter((event) => [held[3]?.[2], held[3]?.[3]].includes(String(event.fd)));
    expect(half.map((event) => [event.stream_offset, event.other_offset])).toEqual([[0n, 300n], [0n, 300n]]);
    expect(half[0]?.tcp_seq).toBe(half[1]?.tcp_seq);
  });

  test('two processes: both ends agree on the connection and on every byte', async () => {
    const server = new LoadProgram(network.name, 'serve', '7700');
    await server.line('ready');
    const run = await LoaderRun.start('--scope', `netns:${network.name}`);
    const client = new LoadProgram(network.name, 'ask', '127.0.0.1', '7700', '50');
    await client.end();
    await run.settled();
    await run.stop();
    server.kill();
    const accepted = run.of('accept');
    expect(accepted.length).toBe(50);
    expect(new Set(accepted.map((event) => event.conn_id)).size).toBe(50);
    for (const accept of accepted) {
      const connection = run.events.filter((event) => event.conn_id === accept.conn_id && (event.op === 3 || event.op === 4) && event.bytes > 0);
      expect(connection.length).toBe(4);
      for (const write of connection.filter((event) => event.op === 4)) {
        const read = connection.find((event) => event.op === 3 && event.process_id !== write.process_id && event.tcp_seq === write.tcp_seq);
        expect(read?.stream_offset).toBe(write.stream_offset);
        expect(read?.payload).toEqual(write.payload);
        expect([read?.local_port, read?.remote_port]).toEqual([write.remote_port, write.local_port]);
        expect(read?.role).not.toBe(write.role);
      }
    }
  });

  test('Unix sockets that end with their process: the next one in the same place is another socket', async () => {
    const run = await LoaderRun.start('--scope', `netns:${network.name}`);
    const load = new LoadProgram(network.name, 'exits', '40');
    await load.line('exits 40');
    await run.settled();
    await run.stop();
    await load.end();
    const connects = run.of('connect');
    expect(connects.length).toBe(40);
    expect(new Set(connects.map((event) => event.socket_id)).size).toBe(40);
    for (const connect of connects) {
      const moved = run.events.filter((event) => event.conn_id === connect.conn_id && (event.op === 3 || event.op === 4));
      expect(moved.map((event) => [event.op === 4 ? 'write' : 'read', event.stream_offset, event.other_offset, event.bytes]).toSorted()).toEqual([['read', 0n, 0n, 3], ['read', 0n, 3n, 3], ['write', 0n, 0n, 3], ['write', 0n, 3n, 3]]);
      expect(new Set(moved.map((event) => event.socket_id)).size).toBe(2);
    }
  });

  test('refused and reset connections say why', async () => {
    const run = await LoaderRun.start('--scope', `netns:${network.name}`);
    const load = new LoadProgram(network.name, 'reset');
    await load.end();
    await run.settled();
    await run.stop();
    const [, client_fd, server_fd] = (await load.line('reset')).split(' ').map(Number);
    const refused_fd = Number((await load.line('refused')).split(' ')[1]);
    const server = run.of('close').find((event) => event.role === 2 && event.fd === server_fd);
    expect(server?.new_state).toBe(7);
    expect(run.of('read').find((event) => event.fd === client_fd && event.errno === 104)?.bytes).toBe(0);
    expect(run.of('state').find((event) => event.socket_id !== server?.socket_id && event.conn_id === server?.conn_id && event.errno === 104)?.new_state).toBe(7);
    const connect = run.of('connect').find((event) => event.fd === refused_fd && event.remote_port === 1);
    const failed = run.of('state').find((event) => event.socket_id === connect?.socket_id);
    expect([failed?.old_state, failed?.new_state, failed?.errno]).toEqual([2, 7, 111]);
    expect(run.of('close').filter((event) => event.socket_id === connect?.socket_id).length).toBe(1);
  });
});
