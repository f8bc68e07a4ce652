// Processes and threads: numbers that the kernel reuses, ids that are never used again.
import type { NodeThread, SimulatedNode } from './simulated-node.ts';
import type { Random } from './random.ts';

export interface Runtime {
  readonly exe: string;
  readonly cmdline: string;
  readonly comm: string;
}

export class SimulatedThread implements NodeThread {
  readonly process: SimulatedProcess;
  readonly low: number;
  readonly high: number;
  readonly tid: number;
  readonly comm: Int32Array;
  turn = 0;
  /** Requests that it has read and that are not answered. */
  held = 0;
  // Of the process, where the frames are made.
  readonly pid: number;
  readonly process_low: number;
  readonly process_high: number;
  readonly cgroup: number;

  constructor(process: SimulatedProcess, tid: number, comm: Int32Array, random: Random) {
    this.process = process;
    this.tid = tid;
    this.comm = comm;
    [this.low, this.high] = randomId(random);
    ({ pid: this.pid, low: this.process_low, high: this.process_high, cgroup: this.cgroup } = process);
  }
}

/** 63 bits. */
export const randomId = (random: Random): readonly [low: number, high: number] => [random.word(), random.word() >>> 1];

export class SimulatedProcess {
  readonly node: SimulatedNode;
  readonly pid: number;
  readonly low: number;
  readonly high: number;
  readonly cgroup: number;
  readonly netns: number;
  readonly main: SimulatedThread;
  readonly #random: Random;
  readonly #comm: Int32Array;
  #threads = 0;
  #fds = 3;

  constructor(node: SimulatedNode, service: string, { exe, cmdline, comm }: Runtime, random: Random) {
    this.node = node;
    this.#random = random;
    this.pid = 2000 + random.index(4_000_000);
    [this.low, this.high] = randomId(random);
    this.cgroup = 1000 + random.index(100_000);
    this.netns = 0xf0000000 + random.index(100_000);
    const text = Buffer.alloc(16);
    text.write(comm.slice(0, 15));
    this.#comm = new Int32Array(new Uint8Array(text).buffer);
    this.main = new SimulatedThread(this, this.pid, this.#comm, random);
    const container = Array.from({ length: 8 }, () => (random.word() >>> 0).toString(16).padStart(8, '0')).join('');
    node.record('process', {
      process_id: (BigInt(this.high) << 32n) | BigInt(this.low >>> 0), started_mono_ns: BigInt(node.monoAt(0) - 60e9), cgroup_id: BigInt(this.cgroup), pid: this.pid, ns_pid: 1, ppid: 1, netns: this.netns,
      exe, cmdline, container_id: container, cgroup_path: `/kubepods.slice/kubepods-burstable.slice/cri-containerd-${container}.scope`, otel_service_name: service, comm, cwd: '/app',
    });
  }

  /** A thread that was there before the collector began. */
  thread(): SimulatedThread {
    this.#threads += 1;
    return new SimulatedThread(this, this.pid + this.#threads, this.#comm, this.#random);
  }

  fork(at: number, by: SimulatedThread): SimulatedThread {
    const thread = this.thread();
    this.node.threadEvent(at, 'fork', by, thread);
    return thread;
  }

  fd(): number {
    this.#fds = this.#fds > 60_000 ? 4 : this.#fds + 1;
    return this.#fds;
  }
}
