/* SPDX-License-Identifier: Apache-2.0 */
/* Socket calls of every kind, counted by the caller itself: what the collector must have seen, one line a call on stdout.
 *   load calls            every way to write and read, over TCP (IPv4, IPv6) and Unix sockets
 *   load flood N          N questions and answers over one connection, four calls each; waits for a line on stdin before and after
 *   load many N           N connections at once, a question over each of them before a line on stdin and after it
 *   load hold             opens a connection, waits for a line, exchanges over it, waits for another
 *   load crowd            200 threads blocked in a read at once
 *   load reset            a connection whose accepting end resets it
 *   load serve PORT / load ask PORT    one exchange between two processes
 *   load exits N          N processes one after the other, on one processor: each asks over a Unix socket and ends without closing it
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(call)                                                                                                             \
	({                                                                                                                      \
		long _result = (call);                                                                                          \
		if (_result < 0) {                                                                                              \
			fprintf(stderr, "line %d: %s: %s\n", __LINE__, #call, strerror(errno));                                 \
			exit(1);                                                                                                \
		}                                                                                                               \
		_result;                                                                                                        \
	})

static void wait_line(void)
{
	char line[64];

	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return; /* nobody asks for more */
}

/* ---- io_uring by hand, so that nothing needs to be installed ---- */
struct uring {
	int fd;
	unsigned flags;
	unsigned *sq_tail, *sq_mask, *sq_array, *sq_flags, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static int uring_open(struct uring *ring, unsigned flags)
{
	struct io_uring_params params = {.flags = flags, .sq_thread_idle = 1000};
	uint8_t *sq, *cq;

	ring->flags = flags;
	ring->fd = syscall(__NR_io_uring_setup, 8, &params);
	if (ring->fd < 0)
		return -1;
	sq = mmap(NULL, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_CQ_RING);
	ring->sqes = mmap(NULL, params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd, IORING_OFF_SQES);
	ring->sq_tail = (unsigned *)(sq + params.sq_off.tail);
	ring->sq_mask = (unsigned *)(sq + params.sq_off.ring_mask);
	ring->sq_array = (unsigned *)(sq + params.sq_off.array);
	ring->sq_flags = (unsigned *)(sq + params.sq_off.flags);
	ring->cq_head = (unsigned *)(cq + params.cq_off.head);
	ring->cq_tail = (unsigned *)(cq + params.cq_off.tail);
	ring->cq_mask = (unsigned *)(cq + params.cq_off.ring_mask);
	ring->cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
	return 0;
}

static long uring_do(struct uring *ring, int opcode, int fd, void *buffer, unsigned length)
{
	unsigned tail = *ring->sq_tail, slot = tail & *ring->sq_mask;
	struct io_uring_sqe *sqe = &ring->sqes[slot];
	unsigned submit = 1;
	long result;

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcode;
	sqe->fd = fd;
	sqe->addr = (uint64_t)buffer;
	sqe->len = length;
	ring->sq_array[slot] = slot;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_SEQ_CST);
	unsigned flags = IORING_ENTER_GETEVENTS;
	if (ring->flags & IORING_SETUP_SQPOLL) {
		submit = 0;
		if (__atomic_load_n(ring->sq_flags, __ATOMIC_SEQ_CST) & IORING_SQ_NEED_WAKEUP)
			flags |= IORING_ENTER_SQ_WAKEUP;
	}
	CHECK(syscall(__NR_io_uring_enter, ring->fd, submit, 1, flags, NULL, 0));
	while (__atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) == *ring->cq_head)
		;
	result = ring->cqes[*ring->cq_head & *ring->cq_mask].res;
	__atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
	return result;
}

/* ---- pairs of connected sockets ---- */
struct pair {
	const char *family;
	int client, server;
};

static int listen_on(int family, struct sockaddr_storage *address, socklen_t *length)
{
	int listener = CHECK(socket(family, SOCK_STREAM, 0));

	memset(address, 0, sizeof(*address));
	address->ss_family = family;
	*length = family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
	if (family == AF_INET)
		((struct sockaddr_in *)address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (family == AF_INET6)
		((struct sockaddr_in6 *)address)->sin6_addr = in6addr_loopback;
	else {
		struct sockaddr_un *path = (struct sockaddr_un *)address;
		*length = offsetof(struct sockaddr_un, sun_path) + 1 + snprintf(path->sun_path + 1, 100, "tracehouse-load-%d", getpid());
	}
	CHECK(bind(listener, (struct sockaddr *)address, *length));
	CHECK(listen(listener, 16));
	*length = sizeof(*address);
	CHECK(getsockname(listener, (struct sockaddr *)address, length));
	return listener;
}

static struct pair connect_pair(int family)
{
	struct pair pair = {.family = family == AF_INET ? "tcp4" : family == AF_INET6 ? "tcp6" : "unix"};
	struct sockaddr_storage address;
	socklen_t length;
	int listener = listen_on(family, &address, &length);

	pair.client = CHECK(socket(family, SOCK_STREAM, 0));
	CHECK(connect(pair.client, (struct sockaddr *)&address, length));
	pair.server = CHECK(accept4(listener, NULL, NULL, 0));
	close(listener);
	return pair;
}

/* ---- every way to write and to read ---- */
#define SIZE 300
static struct uring plain, polled;
static int has_plain, has_polled;

static long write_by(const char *how, int fd, char *data, size_t size)
{
	struct iovec parts[3] = {{data, 100}, {data + 100, 50}, {data + 150, size - 150}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
	int pipes[2];
	long moved;

	if (!strcmp(how, "write"))
		return write(fd, data, size);
	if (!strcmp(how, "writev"))
		return writev(fd, parts, 3);
	if (!strcmp(how, "pwritev2"))
		return pwritev2(fd, parts, 3, -1, 0);
	if (!strcmp(how, "send"))
		return send(fd, data, size, 0);
	if (!strcmp(how, "sendto"))
		return sendto(fd, data, size, MSG_NOSIGNAL, NULL, 0);
	if (!strcmp(how, "sendmsg"))
		return sendmsg(fd, &message, 0);
	if (!strcmp(how, "sendmmsg")) {
		struct mmsghdr one = {.msg_hdr = message};
		return sendmmsg(fd, &one, 1, 0) == 1 ? one.msg_len : -1;
	}
	if (!strcmp(how, "sendfile")) {
		int file = memfd_create("load", 0);
		CHECK(write(file, data, size));
		off_t from = 0;
		moved = sendfile(fd, file, &from, size);
		close(file);
		return moved;
	}
	if (!strcmp(how, "splice")) {
		CHECK(pipe(pipes));
		CHECK(write(pipes[1], data, size));
		moved = splice(pipes[0], NULL, fd, NULL, size, 0);
		close(pipes[0]);
		close(pipes[1]);
		return moved;
	}
	return uring_do(strcmp(how, "io_uring_sqpoll") ? &plain : &polled, IORING_OP_SEND, fd, data, size);
}

static long read_by(const char *how, int fd, char *data, size_t size)
{
	struct iovec parts[3] = {{data, 100}, {data + 100, 50}, {data + 150, size - 150}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 3};
	int pipes[2];
	long moved;

	if (!strcmp(how, "read"))
		return read(fd, data, size);
	if (!strcmp(how, "readv"))
		return readv(fd, parts, 3);
	if (!strcmp(how, "preadv2"))
		return preadv2(fd, parts, 3, -1, 0);
	if (!strcmp(how, "recv"))
		return recv(fd, data, size, MSG_WAITALL);
	if (!strcmp(how, "peek")) {
		CHECK(recv(fd, data, size, MSG_PEEK));
		return recv(fd, data, size, 0);
	}
	if (!strcmp(how, "discard"))
		return recv(fd, data, size, MSG_TRUNC);
	if (!strcmp(how, "recvmsg"))
		return recvmsg(fd, &message, 0);
	if (!strcmp(how, "recvmmsg")) {
		struct mmsghdr one = {.msg_hdr = message};
		return recvmmsg(fd, &one, 1, 0, NULL) == 1 ? one.msg_len : -1;
	}
	if (!strcmp(how, "splice")) {
		CHECK(pipe(pipes));
		moved = splice(fd, NULL, pipes[1], NULL, size, 0);
		CHECK(read(pipes[0], data, size));
		close(pipes[0]);
		close(pipes[1]);
		return moved;
	}
	return uring_do(strcmp(how, "io_uring_sqpoll") ? &plain : &polled, IORING_OP_RECV, fd, data, size);
}

static const char *const writes[] = {"write", "writev", "pwritev2", "send", "sendto", "sendmsg", "sendmmsg", "sendfile", "splice", "io_uring", "io_uring_sqpoll"};
static const char *const reads[] = {"read", "readv", "preadv2", "recv", "peek", "discard", "recvmsg", "recvmmsg", "splice", "io_uring", "io_uring_sqpoll"};

static int skipped(const char *how)
{
	return (!strcmp(how, "io_uring") && !has_plain) || (!strcmp(how, "io_uring_sqpoll") && !has_polled);
}

static int serial;

static void make(char out[SIZE], const struct pair *pair, const char *writing, const char *reading)
{
	memset(out, '.', SIZE);
	snprintf(out, SIZE, "%04d %s by %s read by %s", ++serial, pair->family, writing, reading);
	out[strlen(out)] = ' ';
	memcpy(out + SIZE - 8, "<<end>>\n", 8);
}

static void transfer(const struct pair *pair, int from_client, const char *writing, const char *reading)
{
	int from = from_client ? pair->client : pair->server, to = from_client ? pair->server : pair->client;
	char out[SIZE], in[SIZE];

	make(out, pair, writing, reading);
	memcpy(in, out, SIZE);
	if (strcmp(reading, "discard") || !strcmp(pair->family, "unix"))
		memset(in, 0, SIZE);
	if (CHECK(write_by(writing, from, out, SIZE)) != SIZE || CHECK(read_by(reading, to, in, SIZE)) != SIZE || memcmp(out, in, SIZE)) {
		fprintf(stderr, "%s: %s to %s moved something else\n", pair->family, writing, reading);
		exit(1);
	}
	printf("call %s write %s %d %d %04d\n", pair->family, writing, from, SIZE, serial);
	printf("call %s read %s %d %d %04d\n", pair->family, reading, to, SIZE, serial);
}

/* When a write went out: told with a copy of the packet, which no stream carries. */
static void error_queue(const struct pair *pair)
{
	int flags = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
	struct pollfd told = {.fd = pair->client};
	char packet[SIZE];

	CHECK(setsockopt(pair->client, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof(flags)));
	transfer(pair, 1, "write", "read");
	CHECK(poll(&told, 1, 5000));
	if (CHECK(recv(pair->client, packet, SIZE, MSG_ERRQUEUE)) == 0)
		exit(1);
	flags = 0;
	CHECK(setsockopt(pair->client, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof(flags)));
}

/* The last bytes and the end, spliced from: 0 as often as it is asked. */
static void splice_end(const struct pair *pair)
{
	char out[SIZE];
	int pipes[2];

	make(out, pair, "write", "splice");
	CHECK(pipe(pipes));
	CHECK(write(pair->client, out, SIZE));
	CHECK(shutdown(pair->client, SHUT_WR));
	for (int i = 0; i < 3; i++)
		if (CHECK(splice(pair->server, NULL, pipes[1], NULL, SIZE, 0)) != (i ? 0 : SIZE))
			exit(1);
	close(pipes[0]);
	close(pipes[1]);
	printf("call %s write write %d %d %04d\n", pair->family, pair->client, SIZE, serial);
	printf("call %s read splice %d %d %04d\n", pair->family, pair->server, SIZE, serial);
}

static void all_calls(void)
{
	static const int families[] = {AF_INET, AF_INET6, AF_UNIX};

	has_plain = !uring_open(&plain, 0);
	has_polled = !uring_open(&polled, IORING_SETUP_SQPOLL);
	for (int f = 0; f < 3; f++) {
		struct pair pair = connect_pair(families[f]);
		printf("pair %s %d %d\n", pair.family, pair.client, pair.server);
		for (size_t i = 0; i < sizeof(writes) / sizeof(*writes); i++)
			if (!skipped(writes[i]))
				transfer(&pair, i % 2, writes[i], "read");
		for (size_t i = 0; i < sizeof(reads) / sizeof(*reads); i++)
			/* Unix sockets are spliced from without passing any hook. */
			if (!skipped(reads[i]) && !(families[f] == AF_UNIX && !strcmp(reads[i], "splice")))
				transfer(&pair, i % 2, "write", reads[i]);
		if (families[f] != AF_UNIX)
			error_queue(&pair);
		char byte;
		if (families[f] == AF_INET6)
			splice_end(&pair);
		else
			CHECK(shutdown(pair.client, SHUT_WR));
		if (read(pair.server, &byte, 1) != 0)
			exit(1);
		transfer(&pair, 0, "write", "read");
		close(pair.server);
		close(pair.client);
	}
}

static void flood(long count)
{
	struct pair pair = connect_pair(AF_INET);
	char data[64] = "flood";

	printf("ready %d\n", getpid());
	wait_line();
	for (long i = 0; i < count; i++) {
		CHECK(write(pair.client, data, sizeof(data)));
		CHECK(read(pair.server, data, sizeof(data)));
		CHECK(write(pair.server, data, sizeof(data)));
		CHECK(read(pair.client, data, sizeof(data)));
	}
	printf("calls %ld\n", 4 * count);
	wait_line();
}

static void many(long count)
{
	struct pair pairs[count];
	char data[16] = "many";

	for (long i = 0; i < count; i++)
		pairs[i] = connect_pair(AF_INET);
	for (int round = 0; round < 2; round++) {
		for (long i = 0; i < count; i++) {
			CHECK(write(pairs[i].client, data, sizeof(data)));
			CHECK(read(pairs[i].server, data, sizeof(data)));
		}
		printf("round %d\n", round);
		wait_line();
	}
}

static void hold(void)
{
	struct pair tcp = connect_pair(AF_INET), six = connect_pair(AF_INET6), local = connect_pair(AF_UNIX);
	const struct pair *pairs[] = {&tcp, &six, &local};

	for (int i = 0; i < 3; i++) {
		transfer(pairs[i], 1, "write", "read");
		transfer(pairs[i], 0, "write", "read");
		transfer(pairs[i], 0, "write", "read");
		printf("held %s %d %d\n", pairs[i]->family, pairs[i]->client, pairs[i]->server);
	}
	/* One that is already half closed. */
	struct pair half = connect_pair(AF_INET);
	transfer(&half, 1, "write", "read");
	shutdown(half.client, SHUT_WR);
	char byte;
	if (read(half.server, &byte, 1) != 0)
		exit(1);
	printf("half tcp4 %d %d\n", half.client, half.server);
	wait_line();
	for (int i = 0; i < 3; i++) {
		transfer(pairs[i], 1, "write", "read");
		transfer(pairs[i], 0, "write", "read");
	}
	transfer(&half, 0, "write", "read");
	printf("done\n");
	wait_line();
	for (int i = 0; i < 3; i++) {
		close(pairs[i]->client);
		close(pairs[i]->server);
	}
}

static void reset(void)
{
	struct pair pair = connect_pair(AF_INET);
	char data[10] = "unread";

	CHECK(write(pair.client, data, sizeof(data)));
	close(pair.server); /* with data unread: a reset */
	if (read(pair.client, data, sizeof(data)) >= 0 || errno != ECONNRESET)
		exit(1);
	printf("reset %d %d\n", pair.client, pair.server);
	close(pair.client);
	/* Nobody listens here. */
	struct sockaddr_in nobody = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int refused = CHECK(socket(AF_INET, SOCK_STREAM, 0));
	if (connect(refused, (struct sockaddr *)&nobody, sizeof(nobody)) >= 0 || errno != ECONNREFUSED)
		exit(1);
	printf("refused %d\n", refused);
	close(refused);
}

static void exits(long count)
{
	struct sockaddr_storage address;
	socklen_t length;
	int listener = listen_on(AF_UNIX, &address, &length);
	cpu_set_t first;
	char data[8];

	CPU_ZERO(&first);
	CPU_SET(0, &first);
	CHECK(sched_setaffinity(0, sizeof(first), &first)); /* the kernel gives the memory of a socket that has gone to the next one */
	for (long i = 0; i < count; i++) {
		pid_t child = CHECK(fork());
		if (!child) {
			int connection = CHECK(socket(AF_UNIX, SOCK_STREAM, 0));
			CHECK(connect(connection, (struct sockaddr *)&address, length));
			CHECK(write(connection, "ask", 3));
			_exit(read(connection, data, sizeof(data)) == 3 ? 0 : 1);
		}
		int connection = CHECK(accept(listener, NULL, NULL)), status;
		if (read(connection, data, sizeof(data)) == 3)
			CHECK(write(connection, "yes", 3));
		CHECK(waitpid(child, &status, 0));
		close(connection);
	}
	printf("exits %ld\n", count);
}

static void serve(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int one = 1, listener = CHECK(socket(AF_INET, SOCK_STREAM, 0));
	char data[256];

	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	CHECK(bind(listener, (struct sockaddr *)&address, sizeof(address)));
	CHECK(listen(listener, 16));
	printf("ready %d\n", getpid());
	fflush(stdout);
	for (;;) {
		int connection = CHECK(accept(listener, NULL, NULL));
		long length = read(connection, data, sizeof(data));
		if (length > 0)
			CHECK(write(connection, data, length));
		close(connection);
	}
}

static void ask(const char *host, int port, int times)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	char data[64];

	inet_pton(AF_INET, host, &address.sin_addr);
	for (int i = 0; i < times; i++) {
		int connection = CHECK(socket(AF_INET, SOCK_STREAM, 0));
		CHECK(connect(connection, (struct sockaddr *)&address, sizeof(address)));
		int length = snprintf(data, sizeof(data), "question %d", i);
		CHECK(write(connection, data, length));
		if (read(connection, data, sizeof(data)) != length)
			exit(1);
		close(connection);
	}
	printf("asked %d\n", times);
}

static void *work(void *argument)
{
	int *pipes = argument;
	char byte;

	for (int i = 0; i < 3; i++)
		CHECK(read(pipes[0], &byte, 1));
	return NULL;
}

/* A thread that is woken through a pipe, and an event loop that turns three times between two writes. */
static void threads(void)
{
	struct pair pair = connect_pair(AF_INET);
	struct epoll_event event = {.events = EPOLLIN};
	int epoll = CHECK(epoll_create1(0)), pipes[2];
	pthread_t worker;
	char data[8] = "turn";

	CHECK(write(pair.client, data, 4));
	CHECK(pipe(pipes));
	pthread_create(&worker, NULL, work, pipes);
	for (int i = 0; i < 3; i++) {
		usleep(5000);
		CHECK(write(pipes[1], "x", 1));
		CHECK(epoll_wait(epoll, &event, 1, 1));
	}
	pthread_join(worker, NULL);
	CHECK(write(pair.client, data, 4));
	pid_t child = fork();
	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
	printf("child %d\n", child);
}

static void *read_one(void *argument)
{
	char byte;

	CHECK(read(*(int *)argument, &byte, 1));
	return NULL;
}

/* As many readers as there are threads, all of them blocked before the first byte comes. */
static void crowd(void)
{
	enum { CROWD = 200 };
	static struct pair pairs[CROWD];
	static pthread_t threads[CROWD];

	for (int i = 0; i < CROWD; i++)
		pairs[i] = connect_pair(AF_INET);
	for (int i = 0; i < CROWD; i++)
		if (pthread_create(&threads[i], NULL, read_one, &pairs[i].server))
			exit(1);
	sleep(1);
	for (int i = 0; i < CROWD; i++)
		CHECK(write(pairs[i].client, "x", 1));
	for (int i = 0; i < CROWD; i++)
		pthread_join(threads[i], NULL);
	printf("crowd %d %d\n", CROWD, getpid());
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "calls"))
		all_calls();
	else if (!strcmp(what, "flood"))
		flood(atol(argv[2]));
	else if (!strcmp(what, "many"))
		many(atol(argv[2]));
	else if (!strcmp(what, "hold"))
		hold();
	else if (!strcmp(what, "reset"))
		reset();
	else if (!strcmp(what, "crowd"))
		crowd();
	else if (!strcmp(what, "threads"))
		threads();
	else if (!strcmp(what, "exits"))
		exits(atol(argv[2]));
	else if (!strcmp(what, "serve"))
		serve(atoi(argv[2]));
	else if (!strcmp(what, "ask"))
		ask(argv[2], atoi(argv[3]), atoi(argv[4]));
	else
		return 2;
	return 0;
}
