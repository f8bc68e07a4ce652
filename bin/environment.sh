# What has to be said before Node.js begins (docs/adr/0028), for bin/tracehouse and the benchmarks: to be read by sh.

# Each running DuckDB query holds a thread of Node's pool, which has four unless told otherwise, and begins with the first module.
export UV_THREADPOOL_SIZE="${UV_THREADPOOL_SIZE:-16}"

# Of what DuckDB's own allocator holds free, one heap and half a second of it are enough; otherwise each thread's heap keeps it for ten.
export DUCKDB_JE_MALLOC_CONF="${DUCKDB_JE_MALLOC_CONF:-narenas:1,dirty_decay_ms:500,muzzy_decay_ms:0}"

# Who hands out memory: jemalloc where it is installed (Debian's libjemalloc2), in two arenas and giving back what has been free for a
# second; otherwise glibc with one arena instead of eight a core. What the environment says already stays, also that LD_PRELOAD is empty.
if [ -z "${LD_PRELOAD+given}${MALLOC_ARENA_MAX+given}${GLIBC_TUNABLES+given}" ]; then
  for library in "/usr/lib/$(uname -m)-linux-gnu/libjemalloc.so.2" /usr/lib64/libjemalloc.so.2; do
    [ -r "$library" ] || continue
    export LD_PRELOAD="$library" TRACEHOUSE_ALLOCATOR="TRACEHOUSE_ALLOCATOR LD_PRELOAD"
    [ -n "${MALLOC_CONF+given}" ] || export MALLOC_CONF=narenas:2,dirty_decay_ms:1000,muzzy_decay_ms:0,background_thread:true TRACEHOUSE_ALLOCATOR="$TRACEHOUSE_ALLOCATOR MALLOC_CONF"
    break
  done
  [ -n "${LD_PRELOAD+given}" ] || export MALLOC_ARENA_MAX=1 TRACEHOUSE_ALLOCATOR="TRACEHOUSE_ALLOCATOR MALLOC_ARENA_MAX"
fi
