// What the public views say beyond the raw relations (schema/relations.ts): the data dictionary of everything that is
// derived. Columns that a view takes over unchanged from a raw relation are described there.

export interface PublicColumnDoc {
  readonly doc: string;
  readonly unit?: string;
}

export interface PublicRelationDoc {
  readonly doc: string;
  readonly columns: Readonly<Record<string, PublicColumnDoc>>;
}

const is = (doc: string, unit?: string): PublicColumnDoc => (unit === undefined ? { doc } : { doc, unit });

const NS_1970 = 'ns since 1970';

/** Columns that mean the same wherever they are. */
export const COMMON_COLUMNS: Readonly<Record<string, PublicColumnDoc>> = {
  node: is('name of the node'),
  boot_id: is('the kernel boot that mono_ns counts from'),
  run_id: is('one start of a collector', NS_1970),
  ts: is('when, UTC'),
  ts_ns: is('the same; conditions on it skip what cannot match', NS_1970),
  mono_ns: is("the kernel's CLOCK_MONOTONIC", 'ns'),
  trace_id: is('trace: 32 hex digits, the first 16 its start time'),
  span_id: is('span: 16 hex digits, computed from the connection, the position of the request in it and the kind'),
  process_id: is('process: pid plus start time, never reused'),
  thread_id: is('thread: tid plus start time, never reused'),
  socket_id: is('one socket of one boot'),
  conn_id: is('the connection: equal at both ends, through NAT too'),
  stream_id: is('stream within the connection; null for HTTP/1'),
  pid: is('thread group id in the root pid namespace'),
  tid: is('thread id in the root pid namespace'),
  comm: is('name of the thread'),
  fd: is('file descriptor in the process'),
  netns: is('inode of the network namespace'),
  start_time: is('start, UTC'),
  end_time: is('end, UTC'),
  start_ns: is('start; conditions on it skip what cannot match', NS_1970),
  end_ns: is('end; conditions on it skip what cannot match', NS_1970),
  duration_ns: is('from start to end', 'ns'),
  service_name: is('service: named by OTEL_SERVICE_NAME, container, unit, script or executable of the process'),
  complete: is('false when a loss of events touches it, or part of it lies outside of what was captured'),
  rule_version: is('version of the rules that decided'),
  model_version: is('version of the learned model that judged; null = none'),
  parent_task_id: is('task that started the task'),
  local_ip: is('own address, as text'),
  local_port: is('own port'),
  remote_ip: is("other end's address, as text"),
  remote_port: is("other end's port"),
};

export const PUBLIC_RELATIONS: Readonly<Record<string, PublicRelationDoc>> = {
  messages: {
    doc: 'One row a protocol message at one end of a connection, found by the parsers at ingest.',
    columns: {
      ts: is('event that carried the first byte, UTC'),
      end_ts: is('event that carried the last byte seen, UTC'),
      connect_ts: is('first request of a socket that this process opened: when it called connect, UTC'),
      first_tid: is('thread id of the thread that moved the first byte'),
      last_tid: is('thread id of the thread that moved the last byte'),
      last_turn: is("that thread's turn then"),
      connect_turn: is("the connecting thread's turn then"),
      peer_socket_id: is('Unix sockets: the socket at the other end'),
      errno: is('error of the connection: refused, reset'),
      content_length: is('as the head said', 'bytes'),
      head_bytes: is('start line and fields', 'bytes'),
      cgroup_id: is('cgroup v2 id'),
    },
  },
  processes: {
    doc: 'What is known of a process: one row each, the newest that was said.',
    columns: {
      started_at: is('start, UTC'),
      ended_at: is('end, UTC; null = running'),
      ppid: is('pid of its parent'),
      exe: is('path of the executable'),
      container_id: is('container that it runs in'),
    },
  },
  losses: {
    doc: 'What was not recorded, where, when and why.',
    columns: { from_ts: is('first instant that may be touched, UTC'), to_ts: is('last instant that may be touched, UTC') },
  },
  clocks: {
    doc: 'Pairs of clock readings: what ts was derived from.',
    columns: { utc_ns: is('UTC at mono_ns', NS_1970), error_ns: is('how far off the pair may be', 'ns') },
  },
  sockets: {
    doc: 'One row a socket, summed up from its events.',
    columns: {
      role: is("'client' opened the connection, 'server' accepted it"),
      opened_at: is('connect or accept, UTC; null = older than the collector'),
      closed_at: is("the application's close, UTC"),
      close_reason: is("'closed' by the application, 'ended' by the other end, 'error' and its number; null = open"),
      bytes_read: is('bytes read so far', 'bytes'),
      bytes_written: is('bytes written so far', 'bytes'),
    },
  },
  socket_threads: {
    doc: 'Which threads used a socket, and how much.',
    columns: {
      bytes_read: is('bytes that the thread read', 'bytes'),
      bytes_written: is('bytes that the thread wrote', 'bytes'),
      reads: is('calls that read'),
      writes: is('calls that wrote'),
      first_ts: is('first call, UTC'),
      last_ts: is('last call, UTC'),
    },
  },
  exchanges: {
    doc: 'One row a request with its response, at one end of a connection.',
    columns: {
      exchange_no: is('request and response of one exchange share it: a count on the socket, from 0'),
      kind: is("'server' or 'client': the end at which it was seen"),
      peer_span_id: is('span id of the same exchange at the other end'),
      protocol: is("'http', or null when the bytes were not understood"),
      request_end_time: is('last byte of the request, UTC'),
      response_time: is('first byte of the response, UTC'),
      answered: is('false: there was no whole response'),
      end_reason: is('how its end was known'),
    },
  },
  spans: {
    doc: "One row a request at one end: a server span where it was answered, a client span where it was made. A client span's child is the server span at the other end; a server span's children are the calls that its request caused.",
    columns: {
      parent_span_id: is('the span that caused it; null = a root, or nothing decides between the candidates (span_links)'),
      kind: is("'server' or 'client'"),
      span_name: is("method and url_template, or the protocol; 'exchange' where that was not understood, 'connect' for a connection that failed to open"),
      status: is("'error': no response (where the protocol was not understood none may be expected, and it is 'unset'), 5xx, for clients 4xx too; otherwise 'unset'"),
      client_address: is('who opened the connection'),
      client_port: is('its port'),
      server_address: is('who accepted it'),
      server_port: is('its port'),
      network_protocol_name: is("'http', or null when the bytes were not understood"),
      http_request_method: is('method'),
      url_path: is('path, without its query'),
      url_template: is('path with {id} for segments that vary'),
      http_response_status_code: is('status code'),
      bytes_in: is('bytes of the message that was read', 'bytes'),
      bytes_out: is('bytes of the message that was written', 'bytes'),
      attributes: is('what else is known, as a JSON object'),
      parent_evidence: is('what the parent was chosen by, as in span_links; null without a parent'),
      parent_confidence: is('0 to 1; null without a parent'),
    },
  },
  traces: {
    doc: 'One row a trace, summed up from its spans.',
    columns: {
      root_service: is('service of the root span'),
      root_name: is('name of the root span'),
      start_time: is('start of the first span, UTC'),
      start_ns: is('the same; to skip what cannot match, compare trace_id, which begins with it', NS_1970),
      duration_ns: is('from the start of the first span to the end of the last', 'ns'),
      span_count: is('number of spans'),
      error_count: is("number of spans with status 'error'"),
      services: is('services that take part, by name'),
      complete: is('false when any of its spans is not'),
    },
  },
  span_links: {
    doc: 'Every parent that was considered for a span, chosen or not.',
    columns: {
      candidate_span_id: is('the span that may have caused it'),
      evidence: is(
        "what speaks for it: 'connection' = it is the other end; 'thread' = its request was open on the thread that made the call; 'task' = on the goroutine, or its parent; 'header' = the call carries the same trace or request id; 'turn' = the event loop read it (or an answer that belongs to it) the usual number of turns before; 'responder' = the calling thread answered it next; 'slot', 'hand_back' = the thread that works on it was woken when the call's answer had been read; 'birth' = the calling thread was started while it was worked on; 'timing' = this service usually calls so long after such a request, all calls and requests of the time considered; 'open' = it was open at the time; 'split' = it did, but has caused so many calls already that this one begins a trace of its own",
      ),
      score: is('0 to 1'),
      chosen: is('it became the parent'),
    },
  },
  evidence_precision: {
    doc: 'How often each kind of evidence named the request that headers (traceparent, x-request-id) prove to be the cause; calls without such headers do not count.',
    columns: {
      evidence: is('kind of evidence, as in span_links'),
      score: is('scores from this one up to a tenth more'),
      links: is('candidates that it named with such a score'),
      right_links: is('of these, the ones that the headers prove'),
      precision: is('right_links / links'),
    },
  },
  ids: {
    doc: 'One row a span with nothing but ids: all that joining nodes needs.',
    columns: {
      peer_span_id: is('span id of the same exchange at the other end'),
      kind: is("'server' or 'client'"),
      owner_span_id: is('client spans: the server span of the same node that caused them'),
    },
  },
  trace_aliases: {
    doc: 'Ids that a trace had before a late link changed its root.',
    columns: { old_trace_id: is('the id that it had'), trace_id: is('the id that it has') },
  },
  models: {
    doc: 'Learned models, as rows: the same versions give the same links.',
    columns: {
      service: is('service that it was learned from'),
      window_start: is('start of the time that it was learned from, UTC'),
      window_end: is('its end, UTC'),
      parameters: is('as JSON'),
    },
  },
  exports: {
    doc: 'Exports to Parquet, deleted ones too.',
    columns: {
      export_id: is('export'), cron: is('when, UTC; null = only when asked to'), relations: is('what, separated by commas'), query: is('what, instead of relations'), destination: is('where to'),
      max_age_ns: is('what it has exported leaves the warehouse when it is older', 'ns'), max_bytes: is('what it has exported leaves, oldest first, while the warehouse is bigger', 'bytes'),
      created_at: is('since when, UTC'), deleted_at: is('until when, UTC'), last_run_at: is('end of its last run, UTC'), last_error: is('why its last run failed; null = it did not'),
    },
  },
  export_files: {
    doc: 'Files that exports have written.',
    columns: {
      export_id: is('export'),
      relation: is('whose rows'),
      path: is('file'),
      state: is("'done'; 'staged' = whole, on its way; 'retracted', 'superseded' = its rows were computed again and are in a newer file, this one goes or is gone"),
      rows: is('rows in it'),
      bytes: is('its size', 'bytes'),
      min_ts: is('oldest row, UTC'),
      max_ts: is('newest row, UTC'),
      checksum: is('SHA-256, hex'),
      written_at: is('when, UTC'),
    },
  },
  dropped_segments: {
    doc: 'What retention took: one row for each stored table of a file that went.',
    columns: {
      dropped_at: is('when, UTC'),
      reason: is("'age', 'bytes' or 'asked'"),
      kind: is("'raw' or 'derived'"),
      relation: is('table'),
      rows: is('rows of it that went'),
      from_ts: is('start of what the file covered, UTC'),
      to_ts: is('its end, UTC'),
      segment_bytes: is('size of the whole file', 'bytes'),
      exported_by: is('exports that had written its rows, separated by commas'),
    },
  },
};
